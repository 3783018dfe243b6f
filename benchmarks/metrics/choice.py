"""Multiple choice by likelihood: which option is the likeliest."""

from collections.abc import Iterable, Sequence
from typing import ClassVar

from benchmarks.leakage.evidence import Evidence, Scored
from benchmarks.metrics.figures import Values, mean_row
from benchmarks.result import Row


def likeliest(options: Sequence[Sequence[float]], lengths: Sequence[int] | None = None) -> int:
    """The option with the highest log-probability; the first of equals.

    Args:
        options: Log-probabilities of each option's tokens, in nats.
        lengths: By which each sum is divided: the options' characters, for what lm-eval calls
            ``acc_norm``; nothing for its ``acc``.
    """
    sums = [
        sum(logs) / (lengths[n] if lengths is not None else 1) for n, logs in enumerate(options)
    ]
    return sums.index(max(sums))


class Choice:
    """Accuracy by likelihood; a case is left out if the system does not tell all its options."""

    NAME = "choice"
    BETTER = "retrained"
    FIGURES: ClassVar[dict[str, str]] = {
        "choice_likelihood": "retrained",
        "choice_likelihood_normalised": "retrained",
    }

    def rows(self, evidence: Evidence) -> Iterable[Row]:
        """Yields ``choice_likelihood`` and, by characters, ``choice_likelihood_normalised``."""
        for split, scored in evidence.scored.items():
            yield from mean_row(evidence, split, "choice_likelihood", _picked(scored, False))
            normalised = _picked(scored, True)
            yield from mean_row(evidence, split, "choice_likelihood_normalised", normalised)


def _picked(scored: Scored, by_length: bool) -> Values:
    """1 for each case whose answer is the likeliest of its options, or else 0."""
    found = []
    for case, held in zip(scored.cases, scored.options or ((),) * len(scored.cases), strict=True):
        told = [logs for logs in held if logs]
        if not told or len(told) < len(case.options) or case.answer not in case.options:
            continue
        lengths = [len(option) for option in case.options] if by_length else None
        at = likeliest(told, lengths)
        found.append((case, float(case.options[at] == case.answer)))
    return found
