"""Intervals of figures, and whether two systems differ on the same cases.

Cases of a group (an author, a document) are not independent, so what is drawn anew, and what is
swapped in a test, is whole groups (Field and Welsh, 2007, "Bootstrapping clustered data").
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from benchmarks.roc import LEVEL, RESAMPLES, Interval, mean_interval

Indices = npt.NDArray[np.intp]

# Of a permutation test: enough for a p-value of 0.0001, and exact where fewer swaps are possible.
SWAPS = 9999


def interval_of_mean(values: Sequence[float], groups: Sequence[str], seed: int) -> Interval | None:
    """The 95 % bootstrap interval of a mean, groups drawn anew.

    Args:
        values: One a case.
        groups: Whose each case is, of the same length.
        seed: Of what is drawn.

    Returns:
        None with fewer than two groups: they say nothing of how much groups differ.
    """
    return mean_interval(values, groups, seed) if len(set(groups)) > 1 else None


def interval(
    figure: Callable[[Sequence[Indices]], float | None],
    sides: Sequence[Sequence[str]],
    seed: int,
    resamples: int = RESAMPLES,
) -> Interval | None:
    """The 95 % bootstrap interval of any figure of one or several sets of cases.

    Args:
        figure: Computes the figure from the indices of the cases that were drawn, one array a
            side; a case may be drawn several times. None where there is none for that draw.
        sides: For each set of cases, whose each of them is. Sides are drawn one by one.
        seed: Of what is drawn.
        resamples: How many times.

    Returns:
        None where a side has fewer than two groups.
    """
    if any(len(set(groups)) < 2 for groups in sides):
        return None
    rng = np.random.default_rng(seed)
    members = [_members(groups) for groups in sides]
    found = []
    for _ in range(resamples):
        drawn = [
            np.concatenate([side[n] for n in rng.integers(len(side), size=len(side))])
            for side in members
        ]
        value = figure(drawn)
        if value is not None:
            found.append(value)
    if not found:
        return None
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def paired_p(
    one: Sequence[float], other: Sequence[float], groups: Sequence[str], seed: int
) -> float:
    """The two-sided p-value of a paired permutation test that two systems have the same mean.

    Whose value is whose is swapped, a group at a time; all ways are tried where there are few.

    Args:
        one: Of the one system, one a case.
        other: Of the other system on the same cases.
        groups: Whose each case is.
        seed: Of what is drawn.

    Returns:
        At best two of all ways of swapping: 0.5 with two groups, 0.002 with ten.

    Raises:
        ValueError: There are no cases, or not the same of both.
    """
    from scipy.stats import permutation_test

    if not one or not len(one) == len(other) == len(groups):
        raise ValueError("a paired test needs the same cases of both systems")
    owner = np.unique(groups, return_inverse=True)[1]
    sums = [np.bincount(owner, weights=np.asarray(values, float)) for values in (one, other)]
    if np.array_equal(sums[0], sums[1]) or len(sums[0]) < 2:
        return 1.0  # nothing to swap; scipy refuses a single pair

    def difference(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64], axis: int) -> object:
        return np.sum(a - b, axis=axis)

    found = permutation_test(
        sums,
        difference,
        permutation_type="samples",
        n_resamples=SWAPS,
        vectorized=True,
        rng=np.random.default_rng(seed),
    )
    return min(1.0, float(found.pvalue))


def _members(groups: Sequence[str]) -> list[Indices]:
    """The indices of each group's cases."""
    names, owner = np.unique(groups, return_inverse=True)
    order = np.argsort(owner, kind="stable")
    ends = np.cumsum(np.bincount(owner, minlength=len(names)))[:-1]
    return [part.astype(np.intp) for part in np.split(order, ends)]
