"""How many answers are in a state."""

from collections.abc import Iterator

from benchmarks.leakage.evidence import Answered, Evidence
from benchmarks.metrics.figures import ALL, KEPT, Values, is_kept, mean_row
from benchmarks.result import Row


def share_rows(evidence: Evidence, state: str) -> Iterator[Row]:
    """Yields the share of answers in a state, by split and attack.

    And, where no attack asked, of all that is to be kept, and of everything: some figures are.
    """
    kept: Values = []
    everything: Values = []
    for (split, attack), held in evidence.answered.items():
        values = _shares(held, state)
        yield from mean_row(evidence, split, state, values, attack)
        if attack is None:
            everything += values
            kept += values if is_kept(split) else []
    yield from mean_row(evidence, KEPT, state, kept)
    yield from mean_row(evidence, ALL, state, everything)


def _shares(held: Answered, state: str) -> Values:
    """The share of each case's answers that are in a state."""
    return [
        (case, sum(answer.state == state for answer in answers) / len(answers))
        for case, answers in zip(held.cases, held.answers, strict=True)
        if answers
    ]
