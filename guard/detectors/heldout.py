"""Held-out rows of one target on their way through its stages.

Everyday prompts that a stage has settled count for those that follow as settled, so that the rate
asked for is that of all stages together. Forget rows and neighbours count in full for every stage:
who leaves out the name meets the later stages alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from guard.detectors.calibration import (
    Calibration,
    Floor,
    Scores,
    calibrate,
    floor_for,
    upper_limit,
)

SIDES = ("positives", "neighbours", "background")
FOREIGN = (
    "foreign"  # stored beside the sides by a stage with a floor: which everyday rows it spares
)

Flags = npt.NDArray[np.bool_]


class HeldOut:
    """The rows of the three sides, and what has become of them so far.

    The scores of a stage are one array a side, by its name in `SIDES`; row-aligned, NaN where a row
    says nothing of the stage.

    Args:
        counts: How many forget, retain and everyday rows there are.
        foreign: Everyday rows that no stage dismisses [everyday].
    """

    def __init__(self, counts: Sequence[int], foreign: Flags) -> None:
        self.flagged = {side: np.zeros(n, np.bool_) for side, n in zip(SIDES, counts, strict=True)}
        self.dismissed = {side: rows.copy() for side, rows in self.flagged.items()}
        self.foreign = foreign

    def calibrate(
        self, scores: Mapping[str, Scores], rate: float, midway: bool = False
    ) -> Calibration:
        """Chooses a stage's threshold; see `guard.detectors.calibration.calibrate`.

        Raises:
            DataError: There are too few everyday prompts for the rate.
        """
        above, near, far = (self.seen(scores, side) for side in SIDES)
        return calibrate(above, near, far, rate, midway)

    def highest_kept(self, scores: Mapping[str, Scores]) -> float:
        """The highest score of a row that must be kept and that no stage has settled."""
        kept = np.concatenate([self.seen(scores, side) for side in SIDES[1:]])
        kept = kept[np.isfinite(kept)]
        return float(kept.max()) if len(kept) else -np.inf

    def sieve(self, scores: Mapping[str, Scores], miss_rate: float, pass_rate: float) -> Floor:
        """Chooses a stage's floor; see `guard.detectors.calibration.floor_for`."""
        everyday = scores["background"][~self.foreign]
        return floor_for(_known(scores["positives"]), _known(everyday), miss_rate, pass_rate)

    def settle(
        self, scores: Mapping[str, Scores], threshold: float | None, floor: float | None
    ) -> None:
        """Settles the rows that a stage flags or dismisses."""
        for side, values in scores.items():
            flagged, dismissed = self.flagged[side], self.dismissed[side]
            with np.errstate(invalid="ignore"):  # NaN neither flags nor dismisses
                if threshold is not None:
                    flagged |= (values >= threshold) & ~dismissed
                if floor is not None:
                    dismissed |= (values < floor) & ~flagged
        self.dismissed["background"] &= ~self.foreign

    def detection(self) -> dict[str, Any]:
        """Returns what all stages together do with the rows, as `TargetRecord.detection` has it."""
        everyday = self.flagged["background"]
        flagged = int(everyday.sum())
        return {
            "detected": _share(self.flagged["positives"]),
            "neighbours_flagged": _share(self.flagged["neighbours"]),
            "everyday_flagged": flagged,
            "everyday": len(everyday),
            "upper": upper_limit(flagged, len(everyday)),
        }

    def seen(self, scores: Mapping[str, Scores], side: str) -> Scores:
        """The scores of one side's rows that have one; everyday prompts' infinite when settled."""
        values = scores[side]
        if side == "background":
            values = np.where(self.dismissed[side], -np.inf, values)
            values = np.where(self.flagged[side], np.inf, values)
        seen: Scores = values[~np.isnan(scores[side])]
        return seen


def _known(scores: Scores) -> Scores:
    """The scores of the rows that say something."""
    known: Scores = scores[~np.isnan(scores)]
    return known


def _share(flags: Flags) -> float | None:
    return float(flags.mean()) if len(flags) else None
