"""Where thresholds stand: found from held-out scores, never written in code.

*Everyday prompts* bound the false positives. Split-conformal: with n held-out scores exchangeable
with what is to come, a threshold that k - 1 of them pass flags a new prompt with probability at
most k / (n + 1) (Vovk et al., 2005). How far a single calibration may lie from that mean is known
too: the rate that a threshold really has follows Beta(k, n + 1 - k) (Vovk, ACML 2012), and its
95 % point is kept beside it.

*Neighbours* are few, and nearer than anything else that must be kept; they are no sample of what
will be asked. Where there are enough of them for the requested rate, the threshold is at least
their quantile at that rate; otherwise it stands where, were they and the forget rows normal, as
many of either would lie on the wrong side. What mostly scores nothing, names for instance, is told
apart midway between what is kept at its highest and what is to be forgotten at its lowest.

The stages of a cascade are calibrated one after the other, each counting what those before it have
flagged already, so that the rate asked for is that of the cascade.
"""

import math
import sys
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from guard.errors import DataError

CONFIDENCE = 0.95

# Both held-out sides look worse than they are (the row that was taken out was often the only one
# of its fact), so single rows at the edge do not decide.
_HIGHEST, _LOWEST = 0.99, 0.05

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """A threshold and what is known about it.

    Attributes:
        threshold: A score that reaches it flags.
        requested: The false-positive rate that was asked for, of everyday prompts.
        bound: The rate that the everyday prompts vouch for, on the average over calibrations; of
            this stage and those before it together.
        upper: The rate that it does not pass with probability 0.95.
        rows: How many forget, retain and everyday rows stood behind it.
        detected: Share of the held-out forget rows that it flags; None without any.
        neighbours_flagged: Share of the held-out retain rows that it flags; None without any.
        scale: How far an everyday prompt that no stage has settled scores below the threshold, on
            the average: a unit in which scores of different detectors can be compared.
    """

    threshold: float
    requested: float
    bound: float
    upper: float
    rows: tuple[int, int, int]
    detected: float | None
    neighbours_flagged: float | None
    scale: float = 1.0

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON form that the bundle keeps."""
        return {**asdict(self), "rows": list(self.rows)}


@dataclass(frozen=True)
class Floor:
    """A score below which a stage dismisses, and what is known about it.

    Attributes:
        floor: Windows that score lower are dismissed.
        missed: Share of the held-out forget rows below it.
        missed_upper: The share that it does not pass with probability 0.95.
        passed: Share of the everyday prompts that go on to the next stage.
    """

    floor: float
    missed: float
    missed_upper: float
    passed: float


def needed(rate: float) -> int:
    """Returns how many everyday prompts can vouch for a false-positive rate."""
    return math.ceil(1 / rate - 1e-9) - 1


def calibrate(
    positives: Scores,
    neighbours: Scores,
    background: Scores,
    rate: float,
    midway: bool = False,
) -> Calibration:
    """Chooses a threshold.

    Everyday prompts that earlier stages have settled are there too: infinite where they were
    flagged, minus infinity where they were dismissed.

    Args:
        positives: Held-out scores of forget rows.
        neighbours: Held-out scores of retain rows.
        background: Held-out scores of everyday prompts.
        rate: The largest share of everyday prompts that may be flagged.
        midway: Whether the threshold stands no lower than midway between what is kept and what is
            to be forgotten, however many neighbours there are.

    Raises:
        DataError: There are too few everyday prompts for the rate; the message says how many it
            needs.
        ValueError: A score is not a number.
    """
    above, near, far = (np.sort(scores) for scores in (positives, neighbours, background))
    if any(np.isnan(scores).any() for scores in (above, near, far)):
        raise ValueError("calibration scores must be numbers")
    count = len(far)
    if count < needed(rate):
        raise DataError(
            f"{count} everyday prompts cannot vouch for a false-positive rate of {rate:g}: it "
            f"needs {needed(rate)}; give more with 'background', or ask for a rate of "
            f"{_round_up(1 / (count + 1))} or more"
        )
    threshold = _conformal(far, rate)
    enough = len(near) >= needed(rate)
    if enough:
        threshold = max(threshold, _quantile(near, rate))
    kept = near if len(near) else far[np.isfinite(far)]
    if midway:
        threshold = max(threshold, _midway(above, kept))
    elif not enough:
        threshold = max(threshold, _between(above, kept))
    k = max(_allowed(count, rate), int(np.isposinf(far).sum())) + 1
    return Calibration(
        threshold=threshold,
        requested=rate,
        bound=k / (count + 1),
        upper=upper_limit(k - 1, count),
        rows=(len(above), len(near), count),
        detected=_share(above, threshold),
        neighbours_flagged=_share(near, threshold),
        scale=_scale(far, threshold),
    )


def floor_for(positives: Scores, background: Scores, miss_rate: float, pass_rate: float) -> Floor:
    """Chooses the floor of a stage that dismisses.

    It stands where at most `miss_rate` of the forget rows lie below, and lower still as long as no
    more than `pass_rate` of the everyday prompts go on: what costs next to nothing is given to
    those who ask in other words than any row does.

    Args:
        positives: Held-out scores of forget rows.
        background: Scores of everyday prompts.
        miss_rate: The largest share of forget rows that may be dismissed.
        pass_rate: The share of everyday prompts that may go on at no one's expense.
    """
    if not len(positives):
        return Floor(-math.inf, 0.0, 1.0, 1.0)
    below = math.floor(miss_rate * len(positives))
    floor = float(np.sort(positives)[below])
    if len(background):
        floor = min(floor, float(np.quantile(background, 1 - pass_rate)))
    missed = int(np.sum(positives < floor))
    return Floor(
        floor,
        missed / len(positives),
        upper_limit(missed, len(positives)),
        _share(background, floor) or 0.0,
    )


def _between(above: Scores, below: Scores) -> float:
    """Where as many forget rows as kept ones lie on the wrong side, were both normal.

    Means and deviations are known from a few rows, unlike the tails.
    """
    if len(above) < 2 or len(below) < 2 or min(above.std(), below.std()) < 1e-9:
        return _midway(above, below)
    weights = above.std(), below.std()
    point = float(np.average([below.mean(), above.mean()], weights=weights))
    return point if below.mean() < above.mean() else _midway(above, below)


def _midway(above: Scores, below: Scores) -> float:
    """Midway between what is kept and what is to be forgotten; above what is kept, without any."""
    if not len(below):
        return -math.inf
    highest = float(np.quantile(below, _HIGHEST))
    if not len(above):
        return math.nextafter(highest, math.inf)
    return (highest + float(np.quantile(above, _LOWEST))) / 2


def _allowed(count: int, rate: float) -> int:
    """How many of so many held-out rows may be flagged, for the next to be so at this rate."""
    return math.floor(rate * (count + 1) + 1e-9) - 1


def _conformal(scores: Scores, rate: float) -> float:
    """The lowest threshold that no more of the sorted scores pass than the rate allows."""
    spent = int(np.isposinf(scores).sum())
    kept = scores[: len(scores) - spent]
    allowed = max(_allowed(len(scores), rate) - spent, 0)
    highest = float(kept[len(kept) - 1 - allowed]) if allowed < len(kept) else -math.inf
    # Nothing at all has scored: any score is then more than what was seen.
    return math.nextafter(highest, math.inf) if highest > -math.inf else -sys.float_info.max


def _quantile(scores: Scores, rate: float) -> float:
    """The score that the next of its kind passes at this rate, between two that were seen."""
    # Weibull's position, which is unbiased for the rate
    place = max((len(scores) + 1) * (1 - rate), 1.0)
    low = min(math.floor(place), len(scores)) - 1
    below, above = float(scores[low]), float(scores[min(low + 1, len(scores) - 1)])
    if math.isinf(below):
        return -sys.float_info.max if below < 0 else _conformal(scores, rate)
    if math.isinf(above):
        return math.nextafter(below, math.inf)
    return math.nextafter(below + (place - math.floor(place)) * (above - below), math.inf)


def upper_limit(hits: int, count: int) -> float:
    """Returns the upper 95 % limit of a rate, `hits` of `count` seen (Clopper and Pearson)."""
    from scipy.stats import beta

    return float(beta.ppf(CONFIDENCE, hits + 1, count - hits)) if hits < count else 1.0


def _scale(everyday: Scores, threshold: float) -> float:
    kept = everyday[np.isfinite(everyday)]
    distance = threshold - float(kept.mean()) if len(kept) else 1.0
    return distance if 0 < distance < math.inf else 1.0


def _share(scores: Scores, threshold: float) -> float | None:
    return float(np.mean(scores >= threshold)) if len(scores) else None


def _round_up(rate: float) -> str:
    scale = 10 ** (2 - math.floor(math.log10(rate)))
    return f"{math.ceil(rate * scale) / scale:g}"
