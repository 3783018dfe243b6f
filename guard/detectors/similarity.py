"""Nearness to what is to be forgotten, in meaning and in words.

A sentence vector is near every sentence of its shape ("When was … born?"), whoever it is about.
So the cosine to the nearest forget vector is one measure of several; the others are what the words
say (`guard.detectors.terms`): how much they are the forget set's own, and whether what the text
names is what one of its rows names. Their weights are fitted per target on held-out rows.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from guard.detectors.base import (
    DetectOptions,
    Encode,
    Examples,
    Fitted,
    Parts,
    Placed,
    Vectors,
    Windowed,
)
from guard.detectors.fusion import fit_weights, fuse
from guard.detectors.index import NearestIndex
from guard.detectors.rows import collect, nearest
from guard.detectors.terms import Evidence, Postings, Rows, terms
from guard.view import Window

# For the cosine, then for the four measures of `Evidence.weigh`.
_SIGNS = (1, 1, 1, -1, -1)
# What six targets of twenty rows each were fitted, on the average, for targets too small to fit.
_USUAL = (1.8, 0.03, 1.3, -0.9, -0.03, -1.9)


class Similarity(Windowed):
    """Flags a text that means and names what the forget set does."""

    kind: ClassVar[str] = "similarity"
    cost: ClassVar[int] = 10

    def __init__(
        self, targets: Mapping[str, Placed], encode: Encode, shared: Parts | None = None
    ) -> None:
        super().__init__(targets, encode, shared)
        background = Postings(Rows.load((shared or Parts()).arrays, "background"))
        self._models = {
            target: _Model(placed.parts, background) for target, placed in self.targets.items()
        }

    @classmethod
    def share(cls, examples: Mapping[str, Examples], options: Any, encode: Encode) -> Parts | None:
        """Encodes the everyday prompts once for all targets."""
        background = next(iter(examples.values())).background
        vectors = encode([row.prompt for row in background])
        rows = Rows.of([terms(row.prompt) for row in background])
        return Parts(arrays={"vectors": vectors.astype(np.float16), **rows.arrays("background")})

    @classmethod
    def fit(
        cls, examples: Examples, options: DetectOptions, encode: Encode, shared: Parts | None = None
    ) -> Fitted | None:
        """Encodes the rows, and scores each as if it had not been there."""
        rows = collect(examples)
        if rows is None or shared is None:
            return None
        vectors = encode(rows.texts)
        others = shared.arrays["vectors"].astype(np.float32)
        if len(examples.retain):
            others = np.concatenate([encode([row.prompt for row in examples.retain]), others])
        inside = np.column_stack([rows.nearest_others(vectors), rows.inside])
        outside = np.column_stack([nearest(others, vectors), rows.outside])
        inside = inside if len(inside) > 1 else inside[:0]  # a lone row says nothing of others
        split = len(examples.retain)
        weights = fit_weights(inside, outside[:split], outside[split:], _SIGNS, _USUAL)
        parts = Parts(
            {"weights": weights},
            {
                "vectors": vectors,
                "named": rows.named,
                **rows.forget.arrays("forget"),
                **rows.retain.arrays("retain"),
            },
        )
        scores = fuse(outside, weights).tolist()
        return Fitted(parts, rows.aligned(fuse(inside, weights)), scores[:split], scores[split:])

    def window_scores(
        self, windows: Sequence[Window], targets: frozenset[str]
    ) -> list[dict[str, float]]:
        """Encodes windows and scores them for these targets."""
        vectors = self.encode([window.text for window in windows])
        words = [terms(window.text) for window in windows]
        found: list[dict[str, float]] = [{} for _ in windows]
        for target in sorted(targets):
            for scores, value in zip(found, self._models[target](vectors, words), strict=True):
                scores[target] = float(value)
        return found


class _Model:
    """What one target's parts make of windows."""

    def __init__(self, parts: Parts, background: Postings) -> None:
        self._parts = parts
        self._background = background

    @cached_property
    def _index(self) -> NearestIndex:
        return NearestIndex(self._parts.arrays["vectors"])  # FAISS is imported by the first text

    @cached_property
    def _evidence(self) -> Evidence:
        arrays = self._parts.arrays
        kept = [Postings(Rows.load(arrays, "retain")), self._background]
        return Evidence(Postings(Rows.load(arrays, "forget")), arrays["named"], kept)

    def __call__(self, vectors: Vectors, words: Sequence[Mapping[int, bool]]) -> Vectors:
        """Scores windows [n] by their vectors [n, d] and words."""
        said = np.stack([self._evidence.weigh(found) for found in words])
        measures = np.column_stack([self._index.nearest(vectors), said])
        return fuse(measures, self._parts.data["weights"])
