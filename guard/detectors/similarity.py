"""Nearness to what is to be forgotten, against nearness to what is not.

A text scores f - w * n, where f is the cosine to its nearest forget vector and n the cosine to its
nearest neighbour vector: sentence shape ("When was … born?") is near both and cancels out, the
subject does not. How much n weighs is fitted per target, by logistic regression on held-out rows.
Vectors are searched with FAISS.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from guard.data import Row
from guard.decision import Score
from guard.detectors.base import (
    DetectOptions,
    Detector,
    Encode,
    Examples,
    Fitted,
    Parts,
    Vectors,
)
from guard.view import View, Window

_REMEMBERED = 20_000  # windows whose scores are kept, so that a growing chat pays for its new turn


class Similarity(Detector):
    """Flags a text whose meaning is nearer to the forget set than to its neighbours."""

    kind: ClassVar[str] = "similarity"
    cost: ClassVar[int] = 10

    def __init__(self, targets: Mapping[str, tuple[Parts, float]], encode: Encode) -> None:
        super().__init__(targets, encode)
        self._ids = list(self.targets)
        forget = [parts.arrays["forget"] for parts, _ in self.targets.values()]
        self._owner = np.repeat(np.arange(len(forget)), [len(rows) for rows in forget])
        self._retain = [parts.arrays["retain"] for parts, _ in self.targets.values()]
        self._background = [parts.arrays["background"] for parts, _ in self.targets.values()]
        self._vectors = np.concatenate(forget)
        self._weights = [float(parts.data["weight"]) for parts, _ in self.targets.values()]
        self._seen: OrderedDict[bytes, dict[int, float]] = OrderedDict()
        self._lock = threading.Lock()

    @cached_property
    def _index(self) -> Any:
        return _exact_index(self._vectors)  # FAISS is imported when the first text gets here

    @classmethod
    def fit(cls, examples: Examples, options: DetectOptions, encode: Encode) -> Fitted | None:
        """Encodes the rows, and scores each against the others."""
        forget = [row for row in examples.forget if not row.is_name]
        if not forget:
            return None
        vectors, owner = _encode(forget, encode)
        others = encode([row.prompt for row in (*examples.retain, *examples.background)])
        queries = vectors[_first(owner)]
        # (f, n) of each row, held out: a row is not its own nearest vector.
        inside = np.stack([_nearest(queries, vectors, owner), _nearest(queries, others)], axis=1)
        number = np.arange(len(others))
        outside = np.stack([_nearest(others, vectors), _nearest(others, others, number)], axis=1)
        # A lone forget row has nothing to be held out against: it says nothing.
        inside = inside if len(forget) > 1 else inside[:0]
        weight = _fit_weight(inside, outside)
        split = len(examples.retain)
        parts = Parts(
            {"weight": weight},
            {"forget": vectors, "retain": others[:split], "background": others[split:]},
        )
        scores = outside[:, 0] - weight * outside[:, 1]
        positives = inside[:, 0] - weight * inside[:, 1]
        return Fitted(parts, positives.tolist(), scores[:split].tolist(), scores[split:].tolist())

    def score(self, view: View, targets: frozenset[str]) -> dict[str, Score]:
        """Returns each target's highest-scoring window."""
        windows = view.windows
        best: dict[str, tuple[float, Window]] = {}
        for window, scores in zip(windows, self._window_scores(windows), strict=True):
            for owner, value in scores.items():
                target = self._ids[owner]
                if target in targets and (target not in best or value > best[target][0]):
                    best[target] = value, window
        return {
            target: Score(value, self.targets[target][1], self.kind, (window.start, window.end))
            for target, (value, window) in best.items()
        }

    def _window_scores(self, windows: Sequence[Window]) -> list[dict[int, float]]:
        # Digests, not texts: what people asked is not kept.
        keys = [hashlib.blake2b(w.text.encode("utf-8", "replace")).digest() for w in windows]
        with self._lock:
            known = {key: self._seen[key] for key in keys if key in self._seen}
        new = {key: w for key, w in zip(keys, windows, strict=True) if key not in known}
        if new:
            found = self._compute(self.encode([window.text for window in new.values()]))
            fresh = dict(zip(new, found, strict=True))
            known |= fresh
            with self._lock:
                self._seen |= fresh
                while len(self._seen) > _REMEMBERED:
                    self._seen.popitem(last=False)
        return [known[key] for key in keys]

    def _compute(self, vectors: Vectors) -> list[dict[int, float]]:
        """Scores window vectors [n, d]: for each, target number to score."""
        near = self._nearest_forget(vectors)
        scores: list[dict[int, float]] = []
        for vector, row in zip(vectors, near, strict=True):
            others: dict[int, float] = {}  # by array: targets share their background
            for owner in row:
                for array in (self._retain[owner], self._background[owner]):
                    if id(array) not in others:
                        others[id(array)] = float((array @ vector).max(initial=-1.0))
            scores.append(
                {
                    owner: cosine
                    - self._weights[owner]
                    * max(others[id(self._retain[owner])], others[id(self._background[owner])])
                    for owner, cosine in row.items()
                }
            )
        return scores

    def _nearest_forget(self, vectors: Vectors) -> list[dict[int, float]]:
        """For each vector, the cosine to every target that might be flagged.

        The search widens until no target left out could still reach its threshold, so that
        many targets at hand never hide one another.
        """
        total = self._index.ntotal
        least = min(threshold for _, threshold in self.targets.values())
        k = min(64, total)
        while True:
            cosines, rows = self._index.search(vectors, k)
            # A score is the cosine less a nearest-neighbour cosine, which is at least -1.
            if k == total or len(self._ids) == 1 or float(cosines[:, -1].max()) + 1 < least:
                break
            if all(len(set(self._owner[row])) == len(self._ids) for row in rows):
                break
            k = min(4 * k, total)
        found: list[dict[int, float]] = []
        for cosine_row, index_row in zip(cosines, rows, strict=True):
            near: dict[int, float] = {}
            for cosine, index in zip(cosine_row, index_row, strict=True):
                near.setdefault(int(self._owner[index]), float(cosine))  # sorted: first is best
            found.append(near)
        return found


def _encode(rows: Sequence[Row], encode: Encode) -> tuple[Vectors, Any]:
    """Encodes all texts of all rows: vectors [n, d] and the row number of each [n]."""
    texts = [(number, text) for number, row in enumerate(rows) for text in row.texts()]
    return encode([text for _, text in texts]), np.array([number for number, _ in texts])


def _first(owner: Any) -> Any:
    """Where each row's first text stands: what a person would ask."""
    return np.flatnonzero(np.r_[True, owner[1:] != owner[:-1]])


def _fit_weight(inside: Any, outside: Any) -> float:
    """How much nearness to neighbours weighs, 0 to 1, from held-out pairs (f, n) [rows, 2]."""
    if not len(inside) or not len(outside):
        return 0.5
    from sklearn.linear_model import LogisticRegression

    pairs = np.concatenate([inside, outside]).astype(np.float64)
    spread = pairs.std(axis=0)
    if not spread.all():
        return 0.5
    labels = np.r_[np.ones(len(inside)), np.zeros(len(outside))]
    slopes = LogisticRegression(class_weight="balanced").fit(pairs / spread, labels).coef_[0]
    slopes = slopes / spread
    return float(np.clip(-slopes[1] / slopes[0], 0.0, 1.0)) if slopes[0] > 0 else 0.5


def _nearest(queries: Vectors, vectors: Vectors, owner: Any = None) -> Any:
    """Cosine of each query to its nearest vector [n]; with `owner`, query i skips row i's own."""
    out = np.full(len(queries), -1.0, dtype=np.float32)
    for start in range(0, len(queries), 512):  # a bounded matrix, however many rows there are
        cosines = queries[start : start + 512] @ vectors.T
        if owner is not None:
            number = np.arange(start, start + len(cosines))
            cosines[number[:, None] == owner[None, :]] = -1.0
        if cosines.shape[1]:
            out[start : start + 512] = cosines.max(axis=1)
    return out


def _exact_index(vectors: Vectors) -> Any:
    """An exact inner-product index."""
    try:
        import faiss
    except ImportError:
        from guard.errors import ModelError

        raise ModelError(
            "faiss is not installed; pip install 'unlearn-guard[faiss-cpu]' (or [faiss-gpu])"
        ) from None

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(np.ascontiguousarray(vectors, dtype=np.float32))
    return index
