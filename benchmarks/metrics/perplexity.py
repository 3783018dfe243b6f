"""How surprised a system is by what was learned."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

from benchmarks.leakage.evidence import Evidence, Scored
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
        yield from perplexity_rows(evidence, "perplexity", evidence.scored)


def perplexity_rows(
    evidence: Evidence, metric: str, by_split: Mapping[str, Scored]
) -> Iterator[Row]:
    """Yields the perplexity of each split's answers, of those that are told.

    Args:
        evidence: Whose.
        metric: What the value is.
        by_split: The likelihoods.
    """
    for split, scored in by_split.items():
        pairs = zip(scored.cases, scored.answer, strict=True)
        told = [(case, logs) for case, logs in pairs if logs]
        if not told:
            continue
        logs = [one for _, one in told]

        def figure(drawn: Sequence[Indices], logs: Sequence[Sequence[float]] = logs) -> float:
            return perplexity([logs[at] for at in drawn[0]])

        spread = interval(figure, [[case.group for case, _ in told]], evidence.seed)
        yield row(evidence, split, metric, perplexity(logs), len(told), spread=spread)
