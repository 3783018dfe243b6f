"""MUSE's verbatim memorisation (arXiv 2407.06460, section 3.1, C1): how passages are continued."""

from collections.abc import Iterable
from typing import ClassVar

from benchmarks.leakage.case import Case
from benchmarks.leakage.evidence import Evidence
from benchmarks.metrics.figures import answered_rows
from benchmarks.metrics.rouge import f1
from benchmarks.result import Row


class MuseVerbatim:
    """ROUGE-L F1 of a passage's continuation with the true one; between 0 and 1."""

    NAME = "muse_verbatim"
    BETTER = "retrained"
    FIGURES: ClassVar[dict[str, str]] = {"verbatim_memory": "retrained"}

    def rows(self, evidence: Evidence) -> Iterable[Row]:
        """Yields ``verbatim_memory`` of the cases that are passages."""
        yield from answered_rows(evidence, "verbatim_memory", _continued, worst=True)


def _continued(case: Case, text: str) -> float | None:
    return f1(case, text) if case.passage else None
