"""The deviation score: how far from forgetting all and keeping all (DRAGON, arXiv 2511.05784)."""

import math
from collections.abc import Iterable, Sequence
from typing import ClassVar

import numpy as np

from benchmarks.leakage.evidence import Evidence
from benchmarks.metrics.figures import groups_of, is_forgotten, judged, row
from benchmarks.metrics.rouge import recall
from benchmarks.metrics.utility import NEIGHBOURS
from benchmarks.result import Row
from benchmarks.statistics import Indices, interval


def deviation_score(forget: float, retain: float) -> float:
    """DS = 100·√(R_f² + (1 − R_r)²).

    Args:
        forget: ROUGE-L recall on what is forgotten, R_f.
        retain: The same on what is retained, R_r.

    Returns:
        0 for who refuses all of the one and answers all of the other word for word, which no
        retrained model does: read it beside the distance to the retrained model.
    """
    return 100 * math.hypot(forget, 1 - retain)


class ForgetScore:
    """The deviation score of questions that are asked as they are."""

    NAME = "forget_score"
    BETTER = "lower"
    FIGURES: ClassVar[dict[str, str]] = {"deviation_score": "lower"}

    def rows(self, evidence: Evidence) -> Iterable[Row]:
        """Yields ``deviation_score`` of each forget split with the neighbours; `n` counts both."""
        near = evidence.answered.get((NEIGHBOURS, None))
        kept = judged(near, recall, worst=False) if near is not None else []
        for (split, attack), held in evidence.answered.items():
            said = judged(held, recall, worst=True)
            if attack is not None or not is_forgotten(split) or not said or not kept:
                continue
            columns = [np.array([value for _, value in side]) for side in (said, kept)]

            def figure(drawn: Sequence[Indices], columns: Sequence[np.ndarray] = columns) -> float:
                means = (column[at].mean() for column, at in zip(columns, drawn, strict=True))
                return deviation_score(*map(float, means))

            value = figure([np.arange(len(column)) for column in columns])
            spread = interval(figure, [groups_of(said), groups_of(kept)], evidence.seed)
            n = len(said) + len(kept)
            yield row(evidence, split, "deviation_score", value, n, spread=spread)
