"""The numbers behind the report: a target's held-out rows, replayed through its stages."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from guard.detectors.calibration import Scores
from guard.detectors.heldout import FOREIGN, SIDES, HeldOut
from guard.manifest import StageRecord, TargetRecord

_SHOWN = 10  # rows of a table of nearest rows
_LEAST = 1e-6  # a distance that can be divided by


@dataclass(frozen=True)
class Stage:
    """One stage as the rows meet it.

    Attributes:
        record: What the bundle says of it.
        seen: Each side's scores as the threshold was chosen by them: plus infinity where an earlier
            stage has flagged the row, minus infinity where one has dismissed it; rows of which the
            stage says nothing are left out.
    """

    record: StageRecord
    seen: Mapping[str, Scores]


@dataclass(frozen=True)
class NearRow:
    """A row and the stage that came nearest to flagging it.

    Attributes:
        number: Its place in its file, from 1.
        detector: The stage; empty where none has scored the row.
        score: What it scored there; NaN where none has.
        threshold: The stage's threshold.
        margin: How far the score lies above it, by what the stage's mean everyday prompt lies
            below it, which makes stages comparable: 0 is the threshold, -1 that prompt.
    """

    number: int
    detector: str
    score: float
    threshold: float
    margin: float


@dataclass(frozen=True)
class Replay:
    """A target's rows, replayed.

    Attributes:
        stages: Its stages, in order.
        nearest: Side to the rows nearest to being decided wrongly: forget rows to being missed, the
            others to being flagged; those that are decided wrongly come first.
    """

    stages: tuple[Stage, ...]
    nearest: Mapping[str, tuple[NearRow, ...]]


def replay(target: TargetRecord, arrays: Mapping[str, npt.NDArray[Any]]) -> Replay:
    """Replays the rows of a target through its stages.

    Args:
        target: The target.
        arrays: The bundle's arrays.
    """
    held = [{side: arrays[file] for side, file in s.scores.items()} for s in target.stages]
    counts = [len(held[0][side]) for side in SIDES]
    masks = [scores[FOREIGN] for scores in held if FOREIGN in scores]
    rows = HeldOut(counts, masks[0] if masks else np.zeros(counts[-1], np.bool_))
    best = {side: _Best(count) for side, count in zip(SIDES, counts, strict=True)}
    stages = []
    for record, scores in zip(target.stages, held, strict=True):
        sides = {side: np.asarray(scores[side], np.float64) for side in SIDES}
        stages.append(Stage(record, {side: rows.seen(sides, side) for side in SIDES}))
        if record.threshold is not None:
            distance = _distance(record.threshold, sides)
            for side, values in sides.items():
                open_scores = np.where(rows.dismissed[side], np.nan, values)
                best[side].take(record.kind, open_scores, record.threshold, distance)
        rows.settle(sides, record.threshold, record.floor)
    nearest = {side: best[side].nearest(missed=side == "positives") for side in SIDES}
    return Replay(tuple(stages), nearest)


class _Best:
    """The stage that came nearest to flagging each row of a side."""

    def __init__(self, count: int) -> None:
        self._margins = np.full(count, -np.inf)
        self._scores = np.full(count, np.nan)
        self._thresholds = np.full(count, np.nan)
        self._kinds = np.full(count, "", dtype=object)

    def take(self, kind: str, scores: Scores, threshold: float, distance: float) -> None:
        margins = (scores - threshold) / distance
        better = margins > self._margins  # NaN never is
        self._margins[better] = margins[better]
        self._scores[better] = scores[better]
        self._thresholds[better] = threshold
        self._kinds[better] = kind

    def nearest(self, missed: bool) -> tuple[NearRow, ...]:
        """The rows by margin: from the lowest if the danger is to be missed."""
        scored = np.flatnonzero(missed | np.isfinite(self._margins))
        keys = self._margins[scored] * (1 if missed else -1)
        order = scored[np.argsort(keys, kind="stable")][:_SHOWN]
        return tuple(
            NearRow(
                number=int(row) + 1,
                detector=str(self._kinds[row]),
                score=float(self._scores[row]),
                threshold=float(self._thresholds[row]),
                margin=float(self._margins[row]),
            )
            for row in order
        )


def _distance(threshold: float, sides: Mapping[str, Scores]) -> float:
    """How far a threshold lies above a stage's mean everyday score; 1 where it does not."""
    everyday = sides["background"][np.isfinite(sides["background"])]
    distance = threshold - float(everyday.mean()) if len(everyday) else 0.0
    return distance if distance > _LEAST else 1.0


def roc(positives: Scores, others: Scores) -> tuple[Scores, Scores]:
    """Returns the corners of a ROC curve: false-positive and true-positive rates, both rising.

    Args:
        positives: Scores of rows to be flagged; infinite ones are settled.
        others: Scores of rows not to be.
    """
    levels = np.unique(np.concatenate([positives, others]))[::-1]
    levels = levels[levels > -np.inf]
    false = _reaching(others, levels)
    true = _reaching(positives, levels)
    # A corner is where the next step goes another way; between corners nothing is to be seen.
    bends = np.ones(len(levels), dtype=np.bool_)
    bends[1:-1] = ~((np.diff(false[:-1]) == 0) & (np.diff(false[1:]) == 0)) & ~(
        (np.diff(true[:-1]) == 0) & (np.diff(true[1:]) == 0)
    )
    return false[bends], true[bends]


def _reaching(scores: Scores, levels: Scores) -> Scores:
    """The share of scores that reach each level."""
    ordered = np.sort(scores)
    below = np.searchsorted(ordered, levels)
    shares: Scores = (len(ordered) - below) / max(len(ordered), 1)
    return shares
