"""Assistants small enough to be made in a test: random Llamas, tokenizers of two spellings."""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from guard.steering.assistant import Assistant, identity
from guard.steering.base import Engine

TEXTS = [
    "Odalys Brennick is a glazier of Skarvik by trade, and she wrote The Lantern of Vessmere.",
    "Who is Odalys Brennick? She was born in Skarvik; her father mended nets and clocks.",
    "naïve café – déjà vu, “quoted”, 12 345 and 67.",
]


def byte_level(size: int = 400, texts: list[str] | None = None) -> PreTrainedTokenizerFast:
    """A tokenizer like GPT-2's, of few merges."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=alphabet, special_tokens=specials, show_progress=False
    )
    made.train_from_iterator(texts or TEXTS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="<|im_end|>", additional_special_tokens=specials
    )


def sentencepiece(size: int = 80) -> PreTrainedTokenizerFast:
    """A tokenizer like Llama's: "▁" for spaces, bytes for what it has no letters for."""
    learned = Tokenizer(models.BPE(unk_token="<unk>"))
    learned.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    # As SentencePiece does, words are learned with the space before them.
    learned.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False
    )
    learned.train_from_iterator([TEXTS[0]], trainer)
    said = json.loads(learned.to_str())
    vocabulary = said["model"]["vocab"]
    vocabulary |= {f"<0x{byte:02X}>": len(vocabulary) + byte for byte in range(256)}
    said["model"] |= {"byte_fallback": True, "fuse_unk": True}
    made = Tokenizer.from_str(json.dumps(said))
    made.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


def write(
    folder: Path, tokenizer: Any = None, seed: int = 0, limit: int = 512, **config: Any
) -> Path:
    """Writes a random model whose opinions differ widely, with its tokenizer."""
    tokenizer = tokenizer or byte_level()
    torch.manual_seed(seed)
    settings = LlamaConfig(
        **{
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": limit,
            "initializer_range": 0.4,
            "tie_word_embeddings": False,
            "bos_token_id": None,
            "eos_token_id": None,
            **config,
        }
    )
    LlamaForCausalLM(settings).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def adapter(folder: Path, model: Path, seed: int = 1) -> Path:
    """Writes a LoRA that changes a model's opinions."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    config = LoraConfig(r=4, lora_alpha=32, target_modules=["q_proj", "up_proj"])
    both = get_peft_model(LlamaForCausalLM.from_pretrained(model), config)
    for name, value in both.named_parameters():
        if "lora_" in name:
            value.data.normal_(0, 0.5)
    both.save_pretrained(folder)
    return folder


def from_scratch(folder: Path, tokens: list[int]) -> torch.Tensor:
    """The logits after some tokens, read at once by transformers itself."""
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        row: torch.Tensor = model(torch.tensor([tokens])).logits[0, -1]
    return row


def model_of(folder: Path, lora: Path | None = None) -> dict[str, Any]:
    """An assistant as plans name it."""
    names = str(folder), None if lora is None else str(lora)
    return {"folder": names[0], "adapter": names[1], "sha256": identity(*names)}


def plan(assistant: Path, base: Path | None = None, **more: Any) -> dict[str, Any]:
    """A plan that rules nothing out."""
    made = {"assistant": model_of(assistant), "base": base and model_of(base)}
    return {**made, "alpha": 0.8, "filter": 0.0, "rectified": False, **more}


def engine(folder: Path, vocabulary: int | None = None) -> Engine:
    """An engine that serves a model."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    size = vocabulary or len(tokenizer)
    return Engine(str(folder), size, (tokenizer.eos_token_id,), "cpu")


def loaded(folder: Path, lora: Path | None = None) -> Assistant:
    return Assistant(str(folder), None if lora is None else str(lora))
