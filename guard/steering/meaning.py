"""How much a sentence means what an answer means, from the served model's own embeddings.

Texts are weighted averages of input embeddings (Arora et al., "A simple but tough-to-beat baseline
for sentence embeddings", ICLR 2017): what is common counts little, and the direction that all
tokens share is taken out. Cheap enough to be asked for each word: no forward pass.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from guard.embeddings import EmbeddingRows
from guard.everyday import everyday
from guard.steering.base import Engine
from guard.steering.pieces import served_tokenizer

Vectors = npt.NDArray[np.float32]

_COMMON = 2000  # tokens that say what all tokens share


class Meaning:
    """Averages of a model's input embeddings.

    Args:
        rows: The embeddings.
        texts: Everyday texts as tokens: a token that many of them hold counts little.
    """

    def __init__(self, rows: EmbeddingRows, texts: Sequence[Sequence[int]]) -> None:
        self._rows = rows
        held = np.array([token for text in texts for token in set(text)], np.int64)
        counts = np.bincount(held, minlength=rows.rows)
        self._rarity = np.maximum(np.log((len(texts) + 1) / (counts + 0.5)), 0.0)
        common = np.argsort(-counts, kind="stable")[:_COMMON]
        table = rows.embed(common.tolist())
        self._mean = np.average(table, axis=0, weights=counts[common] + 1e-9)
        self._shared = _direction(table - self._mean)

    def vectors(self, answers: Sequence[Sequence[int]]) -> Vectors:
        """Returns unit vectors of texts in tokens, float32 [n, d]; zeros where none counts."""
        return _unit(np.stack([self._weighed(answer).sum(axis=0) for answer in answers]))

    def nearest(self, before: Sequence[int], tokens: Sequence[int], answers: Vectors) -> Vectors:
        """Returns how near a text with each of some tokens comes to the nearest answer.

        Args:
            before: The text so far.
            tokens: What may follow, one at a time.
            answers: Unit vectors, float32 [m, d].

        Returns:
            Cosine similarities, float32 [n].
        """
        texts = self._weighed(before).sum(axis=0) + self._weighed(tokens)
        near: Vectors = (_unit(texts) @ answers.T).max(axis=1)
        return near

    def _weighed(self, tokens: Sequence[int]) -> Vectors:
        known = [token for token in tokens if 0 <= token < self._rows.rows]
        rows = self._rows.embed(known) - self._mean
        rows -= np.outer(rows @ self._shared, self._shared)
        return np.asarray(rows * self._rarity[known, None], dtype=np.float32)


@lru_cache(maxsize=1)
def meaning(engine: Engine) -> Meaning:
    """Returns the averages of an engine's model.

    Raises:
        ModelError: Its embeddings cannot be read.
    """
    prompts = [row.prompt for row in everyday(None)]
    texts = served_tokenizer(engine)(prompts, add_special_tokens=False)["input_ids"]
    return Meaning(EmbeddingRows(Path(engine.folder)), texts)


def _direction(table: Vectors) -> Vectors:
    """The first principal component of rows, by power iteration from a fixed start."""
    found = np.ones(table.shape[1])
    for _ in range(30):
        found = table.T @ (table @ found)
        found /= np.linalg.norm(found) + 1e-12
    return np.asarray(found, dtype=np.float32)


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-9), dtype=np.float32)
