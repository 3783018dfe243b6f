"""Where the threshold stands: found from held-out scores, never written in code.

Two demands meet. It lies midway between what the neighbours score at their highest and what
forget rows score at their lowest. And everyday prompts, of which there are so many more, keep it
up: split-conformal, with n held-out scores exchangeable with what is to come, a threshold above
the k-th largest flags a new prompt with probability at most k / (n + 1).
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from guard.detectors.base import Fitted

# Both held-out sides look worse than they are (the row that was taken out was often the only one
# of its fact), so single rows at the edge do not decide.
_HIGHEST, _LOWEST = 0.99, 0.05


@dataclass(frozen=True)
class Calibration:
    """A threshold and what is known about it.

    Attributes:
        threshold: A score that reaches it flags.
        requested: The false-positive rate that was asked for, of everyday prompts.
        bound: The rate that the background rows can vouch for.
        rows: How many forget, retain and background rows stood behind it.
        detected: Share of the held-out forget rows that it flags; None without any.
        neighbours_flagged: Share of the held-out retain rows that it flags; None without any.
    """

    threshold: float
    requested: float
    bound: float
    rows: tuple[int, int, int]
    detected: float | None
    neighbours_flagged: float | None

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON form that the bundle keeps."""
        return {**asdict(self), "rows": list(self.rows)}


def calibrate(fitted: Fitted, rate: float) -> Calibration:
    """Chooses a threshold.

    Args:
        fitted: The held-out scores.
        rate: The largest share of everyday prompts that may be flagged.

    Raises:
        ValueError: There is neither a retain nor a background score, or one is not finite.
    """
    above, near, far = (
        np.sort(np.asarray(scores, dtype=np.float64))
        for scores in (fitted.positives, fitted.neighbours, fitted.background)
    )
    below = np.sort(np.concatenate([near, far]))
    if not len(below):
        raise ValueError("calibration needs rows that must not be flagged")
    if not all(np.isfinite(scores).all() for scores in (above, below)):
        raise ValueError("calibration scores must be finite")
    allowed = max(math.floor(rate * (len(far) + 1)) - 1, 0)  # background rows that may be flagged
    floor = float(far[len(far) - 1 - allowed]) if len(far) else -math.inf
    threshold = math.nextafter(floor, math.inf)
    highest = float(np.quantile(below, _HIGHEST))
    if len(above):
        middle = (highest + float(np.quantile(above, _LOWEST))) / 2
        threshold = max(threshold, middle)
    else:
        threshold = max(threshold, math.nextafter(highest, math.inf))
    return Calibration(
        threshold=threshold,
        requested=rate,
        bound=(allowed + 1) / (len(far) + 1),
        rows=(len(above), len(near), len(far)),
        detected=_share(above, threshold),
        neighbours_flagged=_share(near, threshold),
    )


def _share(scores: npt.NDArray[np.float64], threshold: float) -> float | None:
    return float(np.mean(scores >= threshold)) if len(scores) else None
