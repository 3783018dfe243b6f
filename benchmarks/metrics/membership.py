"""Whether what was learned can be told from the like that was not, by likelihoods alone."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from benchmarks.leakage.evidence import Evidence, Scored
from benchmarks.metrics.figures import Values, groups_of, is_forgotten, row
from benchmarks.metrics.likelihoods import mean
from benchmarks.result import Row
from benchmarks.roc import auc
from benchmarks.statistics import Indices, interval

HOLDOUT = "holdout"


def min_k(logs: Sequence[float], share: float) -> float:
    """The mean log-probability of the least likely tokens.

    Args:
        logs: Of all tokens, in nats.
        share: How many of them, rounded down, but at least one; all are the loss, negated.
    """
    return mean(sorted(logs)[: max(1, int(len(logs) * share))])


def scores(scored: Scored, share: float) -> Values:
    """How likely each case's answer was learned, as far as the system tells."""
    return [
        (case, min_k(logs, share))
        for case, logs in zip(scored.cases, scored.answer, strict=True)
        if logs
    ]


def area_rows(
    evidence: Evidence, metric: str, share: float, told: Callable[[float], float] = float
) -> Iterator[Row]:
    """Yields the area under the ROC curve of each forget split against the holdout.

    Args:
        evidence: What is told of both.
        metric: What the value is.
        share: Of the least likely tokens, by which a text is taken for learned.
        told: What the value makes of the area; as it is by default.

    Yields:
        0.5 tells nothing; above it, what is forgotten is likelier. `n` counts both sides.
    """
    holdout = evidence.scored.get(HOLDOUT)
    if holdout is None:
        return
    never = scores(holdout, share)
    for split, scored in evidence.scored.items():
        learned = scores(scored, share)
        if not is_forgotten(split) or not learned or not never:
            continue
        above, below = (np.array([value for _, value in side]) for side in (learned, never))

        def figure(
            drawn: Sequence[Indices], above: np.ndarray = above, below: np.ndarray = below
        ) -> float:
            return told(auc(above[drawn[0]], below[drawn[1]]))

        spread = interval(figure, [groups_of(learned), groups_of(never)], evidence.seed)
        n = len(learned) + len(never)
        yield row(evidence, split, metric, told(auc(above, below)), n, spread=spread)
