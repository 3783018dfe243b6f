"""Rates, ROC figures and their 95 % intervals.

Questions about one author are not independent, so what is drawn anew in a bootstrap is authors
(Field and Welsh, 2007, "Bootstrapping clustered data"), not questions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Interval = tuple[float, float]

LEVEL = 0.95
RESAMPLES = 1000


def exact_interval(hits: int, n: int) -> Interval:
    """The Clopper-Pearson interval of a rate; right at 0 and at n, too.

    Raises:
        ValueError: There are no observations, or more hits than observations.
    """
    from scipy.stats import binomtest

    found = binomtest(hits, n).proportion_ci(LEVEL, method="exact")
    return float(found.low), float(found.high)


@dataclass(frozen=True)
class Scored:
    """Scores of one side, and whose each of them is.

    Attributes:
        scores: One a question, float [n]; minus infinity where nothing was scored at all.
        groups: The group of each question [n].
    """

    scores: Floats
    groups: tuple[str, ...]

    def __post_init__(self) -> None:
        if not len(self.scores) or len(self.scores) != len(self.groups):
            raise ValueError("each side needs scores, and a group for each of them")
        if np.isnan(self.scores).any():
            raise ValueError("a score is not a number")


def auc(above: Floats, below: Floats, weights: tuple[Floats, Floats] | None = None) -> float:
    """Area under the ROC curve: how likely a positive scores above a negative; ties count half.

    Args:
        above: Scores of the positives [p].
        below: Scores of the negatives [n].
        weights: How often each positive [p] and each negative [n] counts; once by default.
    """
    w_above, w_below = weights or (np.ones(len(above)), np.ones(len(below)))
    order = np.argsort(below, kind="stable")
    ranked, total = below[order], np.r_[0.0, np.cumsum(w_below[order])]
    less = total[np.searchsorted(ranked, above, side="left")]
    at_most = total[np.searchsorted(ranked, above, side="right")]
    return float(w_above @ (less + at_most) / (2 * w_above.sum() * total[-1]))


def tpr_at(
    above: Floats, below: Floats, rate: float, weights: tuple[Floats, Floats] | None = None
) -> float:
    """The true-positive rate at the lowest threshold whose false-positive rate is no higher.

    A threshold is a score that was given; nothing is interpolated.

    Args:
        above: Scores of the positives [p].
        below: Scores of the negatives [n].
        rate: The highest false-positive rate.
        weights: As for `auc`.
    """
    w_above, w_below = weights or (np.ones(len(above)), np.ones(len(below)))
    order = np.argsort(-below, kind="stable")
    ranked, total = below[order], np.cumsum(w_below[order])
    allowed = np.searchsorted(total, rate * total[-1] * (1 + 1e-12), side="right")
    if allowed == len(ranked):
        return 1.0
    # What flags must score above the first negative that may not be flagged, and all its equals.
    return float(w_above @ (above > ranked[allowed]) / w_above.sum())


def bootstrap(
    above: Scored,
    below: Scored,
    figure: Callable[[Floats, Floats, tuple[Floats, Floats]], float],
    seed: int,
    resamples: int = RESAMPLES,
) -> Interval:
    """The percentile interval of a figure when groups are drawn anew, of each side by itself.

    Args:
        above: The positives.
        below: The negatives.
        figure: Of the scores of both sides and of how often each of them counts.
        seed: Of what is drawn.
        resamples: How many times.
    """
    rng = np.random.default_rng(seed)
    sides = [np.unique(side.groups, return_inverse=True) for side in (above, below)]
    found = []
    for _ in range(resamples):
        weights = []
        for names, owner in sides:
            drawn = np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names))
            weights.append(drawn[owner].astype(np.float64))
        found.append(figure(above.scores, below.scores, (weights[0], weights[1])))
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def mean_interval(
    values: Sequence[float], groups: Sequence[str], seed: int, resamples: int = RESAMPLES
) -> Interval:
    """The percentile interval of a mean when groups are drawn anew."""
    rng = np.random.default_rng(seed)
    names, owner = np.unique(groups, return_inverse=True)
    sums = np.bincount(owner, weights=np.asarray(values, dtype=np.float64))
    sizes = np.bincount(owner)
    drawn = rng.integers(len(names), size=(resamples, len(names)))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
