"""Rows of a model's input embedding table, read from its checkpoint one by one.

The table of a large model is gigabytes; a corrupted prompt needs a handful of its rows. They
are gathered from the safetensors file through a memory map.
"""

import json
import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from guard.errors import ModelError

_Scale = Callable[[dict[str, Any]], float]

# What a model multiplies its embeddings by as it looks tokens up (vLLM's `embed_input_ids`), so
# that rows that replace them must carry it; by model type, from the configuration. Others, Granite
# for one, multiply what comes out of the look-up: their rows must not carry it.
_SCALES: dict[str, _Scale] = {
    "gemma": lambda config: math.sqrt(config["hidden_size"]),
    "minicpm": lambda config: config.get("scale_emb", 1.0),
}
# These look tokens up again in every layer, where an edited embedding does not reach.
_PER_LAYER = ("gemma3n", "gemma4")
_NAMES = (
    "embed_tokens.weight",
    "wte.weight",
    "embed_in.weight",
    "word_embeddings.weight",
    "tok_embeddings.weight",
    "embeddings.weight",
    "embedding.weight",
)


class EmbeddingRows:
    """The input embeddings of a checkpoint.

    Args:
        folder: A Hugging Face model folder with safetensors weights.

    Raises:
        ModelError: The folder has no such weights, or no table that could be the embeddings.
    """

    def __init__(self, folder: Path) -> None:
        from safetensors import safe_open

        config = _config(folder)
        kind = str(config.get("model_type", ""))
        if kind.startswith(_PER_LAYER):
            raise ModelError(
                f"{folder}: {kind} reads its tokens again in every layer, so `corrupt` cannot hide "
                "them; use another intervention"
            )
        path, name = _find(folder, int(config["vocab_size"]), int(config["hidden_size"]))
        self._file: Any = safe_open(path, framework="pt")
        self._slice: Any = self._file.get_slice(name)
        self.rows, self.dimensions = (int(size) for size in self._slice.get_shape())
        self.scale = _scale(config)
        self._row = lru_cache(maxsize=4096)(self._read)

    def embed(self, token_ids: Sequence[int]) -> npt.NDArray[np.float32]:
        """Returns the embeddings of tokens, float32 [n, d], scaled as the model scales them."""
        if not token_ids:
            return np.empty((0, self.dimensions), dtype=np.float32)
        return np.stack([self._row(int(token)) for token in token_ids])

    def _read(self, token: int) -> npt.NDArray[np.float32]:
        if not 0 <= token < self.rows:
            raise ModelError(f"token {token} is outside the embedding table of {self.rows} rows")
        row = self._slice[token : token + 1].float().numpy()[0]
        return np.asarray(row * np.float32(self.scale), dtype=np.float32)


def _config(folder: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        raise ModelError(f"{folder}/config.json: missing or not JSON") from None
    if not isinstance(config, dict):
        raise ModelError(f"{folder}/config.json: not a JSON object")
    text = config.get("text_config")  # multimodal models keep the language model's beneath
    if isinstance(text, dict):
        config = {**config, **text}
    config.setdefault("hidden_size", config.get("n_embd") or config.get("d_model"))
    for field in ("vocab_size", "hidden_size"):
        if not isinstance(config.get(field), int):
            raise ModelError(f"{folder}/config.json: has no {field!r}")
    return config


def _scale(config: dict[str, Any]) -> float:
    kind = str(config.get("model_type", ""))
    for prefix, scale in _SCALES.items():
        if kind.startswith(prefix):
            return float(scale(config))
    return 1.0


def _find(folder: Path, vocabulary: int, dimensions: int) -> tuple[Path, str]:
    """Finds the file and the tensor: named like an embedding table, and of its shape."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ModelError(
            f"{folder}: has no safetensors weights, so `corrupt` cannot read its embeddings; "
            "save the model with safetensors, or use another intervention"
        )
    found: list[tuple[int, Path, str]] = []
    for path in files:
        for name, shape in _shapes(path).items():
            suffix = next((n for n, end in enumerate(_NAMES) if name.endswith(end)), None)
            if suffix is None or "position" in name or "token_type" in name:
                continue
            # Tables are padded or extended at times, never cut, and an inner table (per
            # layer, or of an image encoder) differs in width.
            if len(shape) == 2 and shape[1] == dimensions and shape[0] >= vocabulary * 0.9:
                found.append((suffix, path, name))
    if not found:
        raise ModelError(
            f"{folder}: no tensor [{vocabulary}, {dimensions}] that is named like an embedding "
            f"table ({', '.join(_NAMES)}); use another intervention than `corrupt`"
        )
    _, path, name = min(found, key=lambda item: (item[0], len(item[2])))
    return path, name


def _shapes(path: Path) -> dict[str, list[int]]:
    """The shape of every tensor in a file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError):
        raise ModelError(f"{path}: damaged, or not safetensors; fetch the model again") from None
