"""What is measured: a system is fitted to a fold and then judges prompts it has never seen."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.question import Prompt
from benchmarks.split import Target
from guard.decision import Score

NOTHING = "nothing scored"
NEXT = " > "  # between the stages of a verdict that names several


@dataclass(frozen=True)
class Verdict:
    """What a system says of one prompt.

    Attributes:
        flagged: At the threshold that it would be deployed with.
        score: Higher is more like what is to be flagged; minus infinity for nothing at all.
        stage: Which part of it had the last word.
        ms: How long it took, where only the system itself can tell.
    """

    flagged: bool
    score: float
    stage: str = NOTHING
    ms: float | None = None


Judge = Callable[[Prompt], Verdict]


class Fitted(ABC):
    """A fitted system: small enough to be sent to another process, which loads it there."""

    @abstractmethod
    def load(self) -> Judge:
        """Loads what judging needs."""


class System(ABC):
    """A kind of detector."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What the results call it."""

    @property
    def folds(self) -> int | None:
        """How many folds it is fitted to; all of them where that is None."""
        return None

    @abstractmethod
    def fit(self, targets: Mapping[str, Target], folder: Path) -> Fitted:
        """Fits to the rows of a fold.

        Args:
            targets: Target id to its rows.
            folder: An empty folder of its own for what it stores.
        """


def margin(scores: Iterable[tuple[str, Score]]) -> tuple[float, str]:
    """One number for a decision, and the detector that it comes from.

    Each stage has a scale of its own, so what counts is how far a score is above its threshold, as
    a share of how far everyday prompts are below it; the best of all targets and stages. A target
    without a score is infinitely far below.
    """
    best, stage = -math.inf, NOTHING
    for _, score in scores:
        # A stage that only dismisses has an infinite threshold: nothing is above it.
        finite = math.isfinite(score.threshold)
        above = score.margin if finite else -math.inf
        if above > best or stage == NOTHING:
            best, stage = above, score.detector
    return best, stage
