"""What something else than the model answered, and what is not told: beside every other figure."""

from collections.abc import Iterable
from typing import ClassVar

from benchmarks.leakage.evidence import Evidence, Scored
from benchmarks.metrics.figures import Values, mean_row
from benchmarks.metrics.likelihoods import right_of
from benchmarks.metrics.shares import share_rows
from benchmarks.result import Row


class Blocked:
    """The shares of answers that were blocked, and of likelihoods that are not told.

    Blocked answers are judged as they read, like all others. A case is ``unscored`` if any
    likelihood that was asked of it is not told; figures that need that one leave the case out.
    """

    NAME = "blocked"
    BETTER = "retrained"
    FIGURES: ClassVar[dict[str, str]] = {"blocked": "retrained", "unscored": "lower"}

    def rows(self, evidence: Evidence) -> Iterable[Row]:
        """Yields ``blocked`` by split and attack, and ``unscored`` by split.

        Of a split that is only scored, ``blocked`` is ``unscored``.
        """
        yield from share_rows(evidence, "blocked")
        for split, scored in evidence.scored.items():
            untold = _untold(scored)
            yield from mean_row(evidence, split, "unscored", untold)
            if (split, None) not in evidence.answered:
                yield from mean_row(evidence, split, "blocked", untold)


def _untold(scored: Scored) -> Values:
    """1 for each case of which some likelihood is not told, or else 0."""
    found = []
    for index, case in enumerate(scored.cases):
        asked = [scored.answer[index]]
        asked.append(right_of(scored, index))
        for several in (scored.wrong, scored.options):
            asked += several[index] if several else ()
        found.append((case, float(not all(asked))))
    return found
