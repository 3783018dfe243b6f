"""The contract of a detector.

Life of a detector kind: at compile time `fit` turns one target's examples into parts (arrays
and JSON) and calibration scores; the threshold comes from those scores, never from the code.
At run time one instance holds the parts of all its targets and scores views.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import Field

from guard.data import Row
from guard.decision import Score
from guard.options import Strict
from guard.view import View

Vectors = npt.NDArray[np.float32]


class Encode(Protocol):
    """Turns n texts into unit vectors, float32 [n, dimensions]."""

    def __call__(self, texts: Sequence[str]) -> Vectors: ...


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
class Parts:
    """What scoring needs of one target: goes into the bundle, so it holds the least it can.

    Attributes:
        data: JSON values.
        arrays: Named arrays.
    """

    data: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Fitted:
    """A fitted detector of one target.

    Attributes:
        parts: What scoring will need.
        positives: Scores of forget rows, each held out.
        neighbours: Scores of retain rows, each held out.
        background: Scores of everyday prompts, each held out.
    """

    parts: Parts
    positives: Sequence[float]
    neighbours: Sequence[float]
    background: Sequence[float]


class DetectOptions(Strict):
    """Options that every detector has."""

    max_false_positive_rate: float = Field(default=0.001, gt=0, lt=1)


class Detector(ABC):
    """A kind of detector, and at run time the one instance that serves all its targets.

    Args:
        targets: Target id to its parts and threshold.
        encode: The sentence encoder; asked only when a text is really to be encoded.
    """

    kind: ClassVar[str]
    Options: ClassVar[type[DetectOptions]] = DetectOptions
    cost: ClassVar[int]  # order among the kinds: the cheap look first
    stages: ClassVar[tuple[str, ...]] = ()  # a composite names the kinds that it stands for

    def __init__(self, targets: Mapping[str, tuple[Parts, float]], encode: Encode) -> None:
        self.targets = dict(targets)
        self.encode = encode

    @classmethod
    @abstractmethod
    def fit(cls, examples: Examples, options: Any, encode: Encode) -> Fitted | None:
        """Fits one target; None when the target has nothing that this kind could use."""

    @abstractmethod
    def score(self, view: View, targets: frozenset[str]) -> dict[str, Score]:
        """Scores a view for the targets asked for; a target left out scored nothing at all."""
