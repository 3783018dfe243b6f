"""The share of questions kept (KRR of ReLearn, arXiv 2502.11190, section 3); see `kfr`."""

from collections.abc import Iterable
from typing import ClassVar

from benchmarks.leakage.case import Case
from benchmarks.leakage.evidence import Evidence
from benchmarks.metrics.entities import share
from benchmarks.metrics.figures import is_kept, judged, mean_row
from benchmarks.metrics.kfr import ENOUGH
from benchmarks.result import Row


def retained(stated: float, contradicts: bool = False) -> bool:
    """Whether a retain answer counts as kept.

    Args:
        stated: The share of the learned answer's entities that it states.
        contradicts: Whether it contradicts that answer.
    """
    return not contradicts and stated >= ENOUGH


class Krr:
    """The share of what is to be kept that is; `n` counts the cases with entities."""

    NAME = "krr"
    BETTER = "higher"
    FIGURES: ClassVar[dict[str, str]] = {"krr": "higher"}

    def rows(self, evidence: Evidence) -> Iterable[Row]:
        """Yields ``krr`` of what is to be kept."""
        for (split, attack), held in evidence.answered.items():
            if is_kept(split):
                values = judged(held, _kept, worst=False)
                yield from mean_row(evidence, split, "krr", values, attack)


def _kept(case: Case, text: str) -> float | None:
    stated = share(case, text)
    return None if stated is None else float(retained(stated))
