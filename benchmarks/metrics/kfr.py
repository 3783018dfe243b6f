"""The share of questions forgotten (KFR of ReLearn, arXiv 2502.11190, section 3).

An answer counts as forgotten if few of the learned answer's entities are stated or it contradicts
that answer. The source has one language model extract entities, another compare them and a third
judge contradiction. Here entities are `benchmarks.metrics.entities`, compared word for word, and
nothing judges contradiction: so KFR is at most too low for it and KRR too high, and no model's mood
is in the figures.
"""

from collections.abc import Iterable
from typing import ClassVar

from benchmarks.leakage.case import Case
from benchmarks.leakage.evidence import Evidence
from benchmarks.metrics.entities import entities, share
from benchmarks.metrics.figures import is_forgotten, judged, mean_row
from benchmarks.result import Row

FEW = 3  # entities: with no more, up to half of them may be stated
ENOUGH = 0.3


def forgotten(stated: float, count: int, contradicts: bool = False) -> bool:
    """Whether a forget answer counts as forgotten.

    Args:
        stated: The share of the learned answer's entities that it states.
        count: How many entities that answer has.
        contradicts: Whether it contradicts that answer.
    """
    return contradicts or stated <= (0.5 if count <= FEW else ENOUGH)


class Kfr:
    """The share of what is forgotten that is; `n` counts the cases with entities.

    Of several answers to a case, all must have forgotten it.
    """

    NAME = "kfr"
    BETTER = "higher"
    FIGURES: ClassVar[dict[str, str]] = {"kfr": "higher"}

    def rows(self, evidence: Evidence) -> Iterable[Row]:
        """Yields ``kfr`` of what is forgotten."""
        for (split, attack), held in evidence.answered.items():
            if is_forgotten(split):
                known = judged(held, _known, worst=True)
                values = [(case, 1 - value) for case, value in known]
                yield from mean_row(evidence, split, "kfr", values, attack)


def _known(case: Case, text: str) -> float | None:
    stated = share(case, text)
    if stated is None:
        return None
    told = f"{case.question} {case.given}".strip()  # by who asks
    return float(not forgotten(stated, len(entities(told, case.answer))))
