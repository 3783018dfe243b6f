"""How likely a system finds what was learned (TOFU, arXiv 2401.06121, section 2.2.1)."""

from collections.abc import Iterable
from typing import ClassVar

from benchmarks.leakage.evidence import Evidence, Scored
from benchmarks.metrics.figures import Values, mean_row
from benchmarks.metrics.likelihoods import normalised
from benchmarks.result import Row


def probabilities(scored: Scored) -> Values:
    """P(a | q)^(1 / |a|) of each case's answer that the system tells."""
    return [
        (case, normalised(logs))
        for case, logs in zip(scored.cases, scored.answer, strict=True)
        if logs
    ]


class Probability:
    """P(a | q)^(1 / |a|), the mean over cases."""

    NAME = "probability"
    BETTER = "retrained"
    FIGURES: ClassVar[dict[str, str]] = {"probability": "retrained"}

    def rows(self, evidence: Evidence) -> Iterable[Row]:
        """Yields ``probability``; `n` counts the cases whose likelihood the system tells."""
        for split, scored in evidence.scored.items():
            yield from mean_row(evidence, split, "probability", probabilities(scored))
