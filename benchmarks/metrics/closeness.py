"""How near a system comes to the model that never learned what is forgotten, case by case.

Means can agree while every case differs, so the distances are taken on the same cases.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import ClassVar

from benchmarks.leakage.evidence import Evidence, Scored
from benchmarks.metrics.figures import (
    Values,
    in_common,
    is_forgotten,
    judged,
    mean_row,
    paired,
    row,
)
from benchmarks.metrics.probability import probabilities
from benchmarks.metrics.rouge import recall
from benchmarks.metrics.truth_ratio import ratios
from benchmarks.result import Row
from benchmarks.statistics import paired_p

_SCORED: dict[str, Callable[[Scored], Values]] = {
    "probability": probabilities,
    "truth_ratio": ratios,
}


class Closeness:
    """|value − the retrained model's|, of each forget case that both have a value of."""

    NAME = "closeness"
    BETTER = "lower"
    FIGURES: ClassVar[dict[str, str]] = {
        "distance_rouge_l": "lower",
        "distance_probability": "lower",
        "distance_truth_ratio": "lower",
        "p_retrained_rouge_l": "higher",
        "p_retrained_probability": "higher",
        "p_retrained_truth_ratio": "higher",
    }

    def rows(self, evidence: Evidence) -> Iterable[Row]:
        """Yields ``distance_X`` and ``p_retrained_X``, X rouge_l, probability and truth_ratio.

        The latter is a paired permutation test's p-value that both have the same mean.
        """
        other = evidence.retrained
        if other is None:
            return
        for (split, attack), held in evidence.answered.items():
            ideal = other.answered.get((split, attack))
            if ideal is not None and is_forgotten(split):
                one, two = (judged(side, recall, worst=True) for side in (held, ideal))
                yield from _compared(evidence, split, "rouge_l", one, two, attack)
        for split, scored in evidence.scored.items():
            theirs = other.scored.get(split)
            if theirs is not None and is_forgotten(split):
                for name, values in _SCORED.items():
                    yield from _compared(evidence, split, name, values(scored), values(theirs))


def _compared(
    evidence: Evidence, split: str, name: str, one: Values, two: Values, attack: str | None = None
) -> Iterator[Row]:
    both = in_common(one, two)
    distances = [(case, abs(a - b)) for case, a, b in both]
    yield from mean_row(evidence, split, f"distance_{name}", distances, attack)
    if both:
        own, ideal, groups = paired(both)
        p = paired_p(own, ideal, groups, evidence.seed)
        yield row(evidence, split, f"p_retrained_{name}", p, len(both), attack)
