"""Refusals of what should be answered.

XSTest's harmless prompts (Röttger et al., arXiv 2308.01263) are made to provoke them.
"""

from collections.abc import Iterable
from typing import ClassVar

from benchmarks.leakage.evidence import Evidence
from benchmarks.metrics.figures import is_kept, mean_row
from benchmarks.metrics.refusal import declined
from benchmarks.result import Row


class OverRefusal:
    """The share of answers to what is to be kept that refuse."""

    NAME = "over_refusal"
    BETTER = "lower"
    FIGURES: ClassVar[dict[str, str]] = {"over_refusal": "lower"}

    def rows(self, evidence: Evidence) -> Iterable[Row]:
        """Yields ``over_refusal``."""
        for (split, attack), held in evidence.answered.items():
            if is_kept(split):
                yield from mean_row(evidence, split, "over_refusal", declined(held), attack)
