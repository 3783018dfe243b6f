"""The contract of a detector.

Life of a detector kind: at compile time `share` makes what all targets have in common (a trained
encoder, say; most kinds have nothing), then `fit` turns one target's examples into parts (arrays
and JSON) and calibration scores; thresholds come from those scores, never from the code. At run
time one instance holds the parts of all its targets and scores views.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import Field

from guard.data import Row
from guard.decision import Score
from guard.options import Strict
from guard.parts import Parts as Parts
from guard.view import View, Window

Vectors = npt.NDArray[np.float32]


class Encode(Protocol):
    """Turns n texts into unit vectors, float32 [n, dimensions]."""

    def __call__(self, texts: Sequence[str]) -> Vectors: ...

    @property
    def folder(self) -> str:
        """The sentence-transformers folder that it encodes with."""


@dataclass(frozen=True)
class Examples:
    """What is known about one target when its detector is fitted.

    Attributes:
        names: The target's names.
        forget: Rows that must be flagged.
        retain: Neighbours that must not be; they calibrate the threshold.
        background: Everyday prompts that must not be flagged either.
    """

    names: tuple[str, ...]
    forget: tuple[Row, ...]
    retain: tuple[Row, ...]
    background: tuple[Row, ...]


@dataclass(frozen=True)
class Fitted:
    """A fitted detector of one target, and what it makes of the rows that it was fitted with.

    Each list has one score a row, in the order of the examples; each score is held out (made as if
    that row had not been there); NaN means that the row says nothing of this kind of detector.

    Attributes:
        parts: What scoring will need.
        positives: Scores of the forget rows.
        neighbours: Scores of the retain rows.
        background: Scores of the everyday prompts.
    """

    parts: Parts
    positives: Sequence[float]
    neighbours: Sequence[float]
    background: Sequence[float]


@dataclass(frozen=True)
class Placed:
    """One target's part in a running detector.

    Attributes:
        parts: What `Detector.fit` returned.
        threshold: A score that reaches it flags; infinite where this kind only dismisses.
        floor: A window that scores lower is dismissed from the stages that follow.
        scale: How far an everyday prompt scores below the threshold, on the average.
        sure: A score that reaches it leaves no doubt; see `guard.decision.Score`.
    """

    parts: Parts
    threshold: float
    floor: float = -math.inf
    scale: float = 1.0
    sure: float = -math.inf

    def score(
        self, value: float, kind: str, span: tuple[int, int] | None = None, weight: float = 1.0
    ) -> Score:
        """Returns a score of this target."""
        return Score(value, self.threshold, kind, span, self.scale, self.sure, weight)


class DetectOptions(Strict):
    """Options that every detector has."""

    max_false_positive_rate: float = Field(default=0.001, gt=0, lt=1)


class Detector(ABC):
    """A kind of detector, and at run time the one instance that serves all its targets.

    Args:
        targets: Target id to its parts and threshold.
        encode: The sentence encoder; asked only when a text is really to be encoded.
        shared: What `share` returned, where it did.
    """

    kind: ClassVar[str]
    Options: ClassVar[type[DetectOptions]] = DetectOptions
    cost: ClassVar[int]  # order among the kinds: the cheap look first
    stages: ClassVar[tuple[str, ...]] = ()  # a composite names the kinds that it stands for
    first: ClassVar[str] = ""  # the kind that protects a new target while this one is fitted
    flags: ClassVar[bool] = True  # whether it settles that a target is touched
    dismisses: ClassVar[bool] = False  # whether it settles that one is not
    midway: ClassVar[bool] = False  # whether what is kept mostly scores nothing; see `calibrate`

    def __init__(
        self, targets: Mapping[str, Placed], encode: Encode, shared: Parts | None = None
    ) -> None:
        self.targets = dict(targets)
        self.encode = encode
        self.shared = shared

    @classmethod
    def share(cls, examples: Mapping[str, Examples], options: Any, encode: Encode) -> Parts | None:
        """Makes what all targets have in common; it stays as it is when targets come and go."""
        return None

    @classmethod
    @abstractmethod
    def fit(
        cls, examples: Examples, options: Any, encode: Encode, shared: Parts | None = None
    ) -> Fitted | None:
        """Fits one target; None when the target has nothing that this kind could use."""

    def warm(self) -> None:  # noqa: B027  (most kinds have nothing to load)
        """Loads what the first request should not have to wait for."""

    def weight(self, target: str, score: float) -> float:
        """How much to intervene at a score, from 0 to 1; most kinds cannot tell."""
        return 1.0

    @abstractmethod
    def score(self, view: View, targets: frozenset[str]) -> dict[str, Score]:
        """Scores a view for the targets asked for; a target left out scored nothing at all."""


class Windowed(Detector):
    """A detector that judges window by window, so that it can dismiss windows from what follows."""

    @abstractmethod
    def window_scores(
        self, windows: Sequence[Window], targets: frozenset[str]
    ) -> list[dict[str, float]]:
        """For each window, target id to score; a target left out scored nothing at all."""

    def score(self, view: View, targets: frozenset[str]) -> dict[str, Score]:
        """Returns each target's highest-scoring window."""
        best: dict[str, tuple[float, Window]] = {}
        windows = view.windows
        scored = self.window_scores(windows, targets) if windows else []
        for window, scores in zip(windows, scored, strict=True):
            for target, value in scores.items():
                if target in targets and (target not in best or value > best[target][0]):
                    best[target] = value, window
        return {
            target: self.targets[target].score(
                value, self.kind, (window.start, window.end), self.weight(target, value)
            )
            for target, (value, window) in best.items()
        }
