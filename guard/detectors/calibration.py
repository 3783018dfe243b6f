"""Where the threshold stands: found from held-out scores, never written in code.

Split-conformal: with n held-out scores of rows that must not be flagged, exchangeable with what
is to come, a threshold above the k-th largest of them flags a new such row with probability at
most k / (n + 1).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Calibration:
    """A threshold and what is known about it.

    Attributes:
        threshold: A score that reaches it flags.
        requested: The false-positive rate that was asked for.
        bound: The rate that this many held-out rows can vouch for, 1 / (n + 1) at the least.
        negatives: How many held-out rows that must not be flagged stood behind it.
        positives: How many that must be.
        detected: Share of the held-out positives that the threshold flags; None without any.
    """

    threshold: float
    requested: float
    bound: float
    negatives: int
    positives: int
    detected: float | None


def calibrate(
    negatives: Sequence[float], positives: Sequence[float], rate: float
) -> Calibration:
    """Chooses a threshold.

    It lies above the conformal quantile of the negatives. Where the positives lie clearly higher
    it moves up to the middle of the gap, so that a new neighbour that is a little more like the
    target than all known ones is still not flagged.

    Args:
        negatives: Held-out scores of rows that must not be flagged; at least one.
        positives: Held-out scores of rows that must be flagged; may be empty.
        rate: The largest share of neighbours that may be flagged.

    Raises:
        ValueError: There is no negative score, or a score is not finite.
    """
    below = np.sort(np.asarray(negatives, dtype=np.float64))[::-1]
    above = np.sort(np.asarray(positives, dtype=np.float64))
    if not len(below):
        raise ValueError("calibration needs at least one row that must not be flagged")
    if not (np.isfinite(below).all() and np.isfinite(above).all()):
        raise ValueError("calibration scores must be finite")
    allowed = max(math.floor(rate * (len(below) + 1)) - 1, 0)  # rows that may lie above
    floor = float(below[min(allowed, len(below) - 1)])
    threshold = math.nextafter(floor, math.inf)
    reached = above[above > floor]
    if len(reached):
        low = float(reached[int(0.05 * (len(reached) - 1))])
        threshold = max(threshold, (floor + low) / 2)
    return Calibration(
        threshold=threshold,
        requested=rate,
        bound=(allowed + 1) / (len(below) + 1),
        negatives=len(below),
        positives=len(above),
        detected=float(np.mean(above >= threshold)) if len(above) else None,
    )
