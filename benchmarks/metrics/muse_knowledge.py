"""MUSE's knowledge memorisation (arXiv 2407.06460, section 3.1): how questions are answered.

On what is forgotten it is the paper's C2; on what is retained its C4, utility.
"""

from collections.abc import Iterable
from typing import ClassVar

from benchmarks.leakage.case import Case
from benchmarks.leakage.evidence import Evidence
from benchmarks.metrics.figures import answered_rows
from benchmarks.metrics.rouge import f1
from benchmarks.result import Row


class MuseKnowledge:
    """ROUGE-L F1 of answers to questions, as MUSE's code has it; between 0 and 1."""

    NAME = "muse_knowledge"
    BETTER = "retrained"
    FIGURES: ClassVar[dict[str, str]] = {"knowledge_memory": "retrained"}

    def rows(self, evidence: Evidence) -> Iterable[Row]:
        """Yields ``knowledge_memory`` of the cases that are questions."""
        yield from answered_rows(evidence, "knowledge_memory", _answered, worst=True)


def _answered(case: Case, text: str) -> float | None:
    return None if case.passage else f1(case, text)
