"""How surprised a system is by what was learned."""

import math
from collections.abc import Iterable, Sequence
from typing import ClassVar

from benchmarks.leakage.evidence import Evidence
from benchmarks.metrics.figures import row
from benchmarks.metrics.likelihoods import TINY
from benchmarks.result import Row
from benchmarks.statistics import Indices, interval


def perplexity(answers: Sequence[Sequence[float]]) -> float:
    """Exp of the mean negative log-probability of all tokens of some answers.

    Args:
        answers: Log-probabilities of each answer's tokens, in nats; below 1e-10 they count as that,
            so that one token that cannot be said leaves a figure to compare.
    """
    logs = [max(log, math.log(TINY)) for answer in answers for log in answer]
    return math.exp(-sum(logs) / len(logs))


class Perplexity:
    """The perplexity of the answers that were learned, of those that the system tells."""

    NAME = "perplexity"
    BETTER = "retrained"
    FIGURES: ClassVar[dict[str, str]] = {"perplexity": "retrained"}

    def rows(self, evidence: Evidence) -> Iterable[Row]:
        """Yields ``perplexity`` of each split that is scored."""
        for split, scored in evidence.scored.items():
            pairs = zip(scored.cases, scored.answer, strict=True)
            told = [(case, logs) for case, logs in pairs if logs]
            if not told:
                continue
            logs = [one for _, one in told]

            def figure(drawn: Sequence[Indices], logs: Sequence[Sequence[float]] = logs) -> float:
                return perplexity([logs[at] for at in drawn[0]])

            groups = [case.group for case, _ in told]
            spread = interval(figure, [groups], evidence.seed)
            value = perplexity(logs)
            yield row(evidence, split, "perplexity", value, len(told), spread=spread)
