"""What no answer came to: beside every other figure."""

from collections.abc import Iterable
from typing import ClassVar

from benchmarks.leakage.evidence import Evidence
from benchmarks.metrics.figures import mean_row
from benchmarks.metrics.shares import share_rows
from benchmarks.result import Row


class Failed:
    """The share of answers that failed; they are in no other figure."""

    NAME = "failed"
    BETTER = "lower"
    FIGURES: ClassVar[dict[str, str]] = {"failed": "lower"}

    def rows(self, evidence: Evidence) -> Iterable[Row]:
        """Yields ``failed`` by split and attack; 0 of a split that is only scored."""
        yield from share_rows(evidence, "failed")
        for split, scored in evidence.scored.items():
            if (split, None) not in evidence.answered:
                values = [(case, 0.0) for case in scored.cases]
                yield from mean_row(evidence, split, "failed", values)
