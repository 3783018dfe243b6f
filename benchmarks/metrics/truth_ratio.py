"""Whether a system tells a true answer from answers that read like it (TOFU, section 2.2.1).

The ratio is the probability of the wrong answers by that of the right one in other words, each
P(a | q)^(1 / |a|). The paper (equation 1) takes the wrong ones' arithmetic mean; its code and
open-unlearning average log-probabilities, which makes it their geometric mean. Both are given.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

from benchmarks.leakage.evidence import Evidence, Scored
from benchmarks.metrics.figures import Values, mean_row
from benchmarks.metrics.likelihoods import TINY, mean, normalised, right_of, wrong_of
from benchmarks.result import Row

Ratio = Callable[[Sequence[float], Sequence[Sequence[float]]], float]


def truth_ratio(right: Sequence[float], wrong: Sequence[Sequence[float]]) -> float:
    """The truth ratio as the paper has it.

    Args:
        right: Log-probabilities of the right answer's tokens, in nats.
        wrong: Those of each wrong answer's.
    """
    return sum(map(normalised, wrong)) / len(wrong) / (normalised(right) + TINY)


def geometric_truth_ratio(right: Sequence[float], wrong: Sequence[Sequence[float]]) -> float:
    """The truth ratio as TOFU's code and open-unlearning compute it; see `truth_ratio`."""
    return normalised([mean(logs) for logs in wrong]) / (normalised(right) + TINY)


def ratios(scored: Scored, ratio: Ratio = truth_ratio) -> Values:
    """The truth ratio of each case that has wrong answers, if the system tells all it takes."""
    found = []
    for index, case in enumerate(scored.cases):
        right, wrong = right_of(scored, index), wrong_of(scored, index)
        if right and wrong:
            found.append((case, ratio(right, wrong)))
    return found


class TruthRatio:
    """The mean truth ratio: near 1 where nothing is known, near 0 where the truth is."""

    NAME = "truth_ratio"
    BETTER = "retrained"
    FIGURES: ClassVar[dict[str, str]] = {
        "truth_ratio": "retrained",
        "truth_ratio_geometric": "retrained",
    }

    def rows(self, evidence: Evidence) -> Iterable[Row]:
        """Yields ``truth_ratio`` and ``truth_ratio_geometric``."""
        for split, scored in evidence.scored.items():
            yield from mean_row(evidence, split, "truth_ratio", ratios(scored))
            values = ratios(scored, geometric_truth_ratio)
            yield from mean_row(evidence, split, "truth_ratio_geometric", values)
