"""Texts as the weighted average of the encoder's own input embeddings: no forward pass."""

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from guard.detectors.base import Vectors
from guard.errors import ModelError

_NAMES = ("word_embeddings.weight", "embed_tokens.weight", "wte.weight")


class Average:
    """Averages word pieces (Arora et al., ICLR 2017; the mean piece stands for their common part).

    Args:
        folder: A sentence-transformers folder with a fast tokenizer.
        weights: How much each piece counts, float32 [vocabulary]; all alike without.

    Raises:
        ModelError: The folder has no ``tokenizer.json`` or no input embeddings.
    """

    def __init__(self, folder: str, weights: npt.NDArray[np.float32] | None = None) -> None:
        self._tokenizer, embeddings = _load(folder)
        self._size = len(embeddings)
        if weights is None:
            self._table = embeddings
        elif len(weights) != len(embeddings):
            raise ModelError(f"{folder}: not the encoder that the bundle was compiled with")
        else:
            self._table = embeddings * weights[:, None]

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Returns unit vectors, float32 [n, d]; nothing but zeros where no piece counts."""
        vectors = np.zeros((len(texts), self._table.shape[1]), np.float32)
        for vector, ids in zip(vectors, self._pieces(texts), strict=True):
            if ids:
                vector[:] = self._table[ids].sum(axis=0)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.maximum(lengths, 1e-9), dtype=np.float32)

    def counts(self, texts: Sequence[str]) -> npt.NDArray[np.intp]:
        """Returns in how many texts each piece occurs [vocabulary]."""
        found = [piece for ids in self._pieces(texts) for piece in set(ids)]
        return np.bincount(np.array(found, np.intp), minlength=self._size)

    def _pieces(self, texts: Sequence[str]) -> list[list[int]]:
        # A lone surrogate is no text to a tokenizer, and must not make it fail.
        clean = [text.encode("utf-8", "replace").decode() for text in texts]
        if len(clean) == 1:
            return [self._tokenizer.encode(clean[0], add_special_tokens=False).ids]
        return [e.ids for e in self._tokenizer.encode_batch(clean, add_special_tokens=False)]


def rarity(folder: str, texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """Returns how rare each word piece is in some texts [vocabulary]; 0 for those in every text.

    Args:
        folder: A sentence-transformers folder, as `Average` takes it.
        texts: The texts, everyday prompts for instance.
    """
    counts = Average(folder).counts(texts)
    rare: npt.NDArray[np.float64] = np.log((len(texts) + 1) / (counts + 0.5))
    return np.maximum(rare, 0.0).astype(np.float32)


@lru_cache(maxsize=2)
def _load(folder: str) -> tuple[Any, npt.NDArray[np.float32]]:
    """The tokenizer, and the input embeddings less their mean [vocabulary, d]."""
    from safetensors import safe_open
    from tokenizers import Tokenizer

    path = Path(folder)
    if not (path / "tokenizer.json").is_file():
        raise ModelError(f"{folder}: has no tokenizer.json, which reading words quickly needs")
    tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    for file in sorted(path.glob("*.safetensors")):
        with safe_open(file, framework="np") as tensors:
            for name in tensors.keys():  # noqa: SIM118  (not a mapping)
                if name.endswith(_NAMES):
                    table = tensors.get_tensor(name).astype(np.float32)
                    return tokenizer, table - table.mean(axis=0)
    hint = json.dumps(_NAMES)
    raise ModelError(f"{folder}: has no input embeddings (a tensor named … {hint})")
