"""A glance at the words before the encoder is asked. About a tenth of a millisecond.

The encoder's own input embeddings, averaged with the weight that a word's rarity gives it (Arora
et al., ICLR 2017, without their common component), say roughly what a text is about, and cost no
forward pass. Together with the words that the forget set says and everyday text does not, that
settles most everyday prompts: what lies below the floor is dismissed, at the miss rate that the
floor was chosen for. It never flags.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from guard.detectors.average import Average, rarity
from guard.detectors.base import (
    DetectOptions,
    Encode,
    Examples,
    Fitted,
    Parts,
    Placed,
    Windowed,
)
from guard.detectors.fusion import fit_weights, fuse
from guard.detectors.rows import collect, nearest
from guard.detectors.terms import TELLING, terms
from guard.view import Window

# Nearness, gain, constant: what six targets of twenty rows each were fitted, on the average.
_USUAL = (2.5, 0.04, -2.5)


class Static(Windowed):
    """Dismisses windows that lie far from a target in words and in their average."""

    kind: ClassVar[str] = "static"
    cost: ClassVar[int] = 1
    flags: ClassVar[bool] = False
    dismisses: ClassVar[bool] = True

    def __init__(
        self, targets: Mapping[str, Placed], encode: Encode, shared: Parts | None = None
    ) -> None:
        super().__init__(targets, encode, shared)
        parts = [placed.parts for placed in self.targets.values()]
        self._ids = list(self.targets)
        self._floors = np.array([placed.floor for placed in self.targets.values()])
        self._weights = np.array([part.data["weights"] for part in parts])
        # One product a target: in a product of all, the last bits would depend on the others.
        self._vectors = [part.arrays["vectors"].astype(np.float32).T for part in parts]
        # Every target's telling words, looked up at once.
        words = np.concatenate([part.arrays["words"] for part in parts])
        order = np.argsort(words, kind="stable")
        self._words = words[order]
        self._gains = np.concatenate([part.arrays["gains"] for part in parts])[order]
        owners = np.repeat(np.arange(len(parts)), [len(part.arrays["words"]) for part in parts])
        self._owners = owners[order]
        self._average = Average(encode.folder, (shared or Parts()).arrays["weights"])

    @classmethod
    def share(cls, examples: Mapping[str, Examples], options: Any, encode: Encode) -> Parts | None:
        """Weighs the encoder's word pieces by their rarity in everyday prompts."""
        background = next(iter(examples.values())).background
        weights = rarity(encode.folder, [row.prompt for row in background])
        return Parts(arrays={"weights": weights})

    @classmethod
    def fit(
        cls, examples: Examples, options: DetectOptions, encode: Encode, shared: Parts | None = None
    ) -> Fitted | None:
        """Averages the rows, and scores each against the others."""
        rows = collect(examples)
        if rows is None or shared is None:
            return None
        average = Average(encode.folder, shared.arrays["weights"])
        vectors = average(rows.texts)
        inside = np.stack([rows.nearest_others(vectors), rows.inside[:, 0]], axis=1)
        outside = np.stack(
            [nearest(average(rows.kept_prompts), vectors), rows.outside[:, 0]], axis=1
        )
        inside = inside if len(inside) > 1 else inside[:0]  # a lone row says nothing of others
        split = len(examples.retain)
        weights = fit_weights(inside, outside[:split], outside[split:], (1, 1), _USUAL)
        gains = rows.evidence.gains
        parts = Parts(
            {"weights": weights},
            {
                "vectors": vectors.astype(np.float16),
                "words": rows.forget.vocabulary[gains > 0],
                "gains": gains[gains > 0],
            },
        )
        scores = fuse(outside, weights).tolist()
        return Fitted(parts, rows.aligned(fuse(inside, weights)), scores[:split], scores[split:])

    def window_scores(
        self, windows: Sequence[Window], targets: frozenset[str]
    ) -> list[dict[str, float]]:
        """Scores windows; targets that a window lies below the floor of are left out."""
        vectors = self._average([window.text for window in windows])
        near = np.column_stack([(vectors @ own).max(axis=1) for own in self._vectors])
        gains = np.stack([self._gain(window.text) for window in windows])
        scores = near * self._weights[:, 0] + gains * self._weights[:, 1] + self._weights[:, 2]
        found: list[dict[str, float]] = [{} for _ in windows]
        for window, owner in zip(*np.nonzero(scores >= self._floors), strict=True):
            found[window][self._ids[owner]] = float(scores[window, owner])
        return found

    def _gain(self, text: str) -> npt.NDArray[np.float64]:
        """What the most telling words of a text say for each target [targets]."""
        hashes = np.fromiter(terms(text), np.uint64)
        starts, ends = self._words.searchsorted(hashes), self._words.searchsorted(hashes, "right")
        spans = [np.arange(a, b) for a, b in zip(starts, ends, strict=True) if a < b]
        total = np.zeros(len(self._ids))
        if not spans:
            return total
        at = np.concatenate(spans)
        owners, gains = self._owners[at], self._gains[at]
        order = np.lexsort((-gains, owners))  # each target's words together, the most telling first
        owners, gains = owners[order], gains[order]
        first = np.searchsorted(owners, owners)
        telling = np.arange(len(owners)) - first < TELLING
        np.add.at(total, owners[telling], gains[telling])
        return total
