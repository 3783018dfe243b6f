"""MUSE's privacy leakage (arXiv 2407.06460, section 3.1, C3): min-40 % against the retrained model.

MUSE counts the holdout as the positives, so that its area is one less the usual one: about 0 for a
model that remembers all, about 0.5 for one that was never trained on it.
"""

from collections.abc import Iterable, Sequence
from typing import ClassVar

import numpy as np

from benchmarks.leakage.evidence import Evidence
from benchmarks.metrics.figures import in_common, is_forgotten, paired, row
from benchmarks.metrics.likelihoods import TINY
from benchmarks.metrics.membership import HOLDOUT, scores
from benchmarks.result import Row
from benchmarks.roc import auc
from benchmarks.statistics import Indices, interval

SHARE = 0.4


def privacy_leak(area: float, retrained: float) -> float:
    """By how much of it, in percent, an area is off the retrained model's.

    Args:
        area: How often a holdout text is likelier than a forgotten one, by min-40 %.
        retrained: The same of the retrained model.

    Returns:
        0 is ideal; about −100 for a model that still remembers; above 0 where what is forgotten
        has become less likely than what was never learned, which tells of it, too.
    """
    return 100 * (area - retrained) / (retrained + TINY)


class PrivacyLeak:
    """MUSE's PrivLeak, in percent, on the cases that both systems tell the likelihood of."""

    NAME = "privacy_leak"
    BETTER = "retrained"
    FIGURES: ClassVar[dict[str, str]] = {"privacy_leak": "retrained"}

    def rows(self, evidence: Evidence) -> Iterable[Row]:
        """Yields ``privacy_leak``; needs the retrained model and a holdout."""
        other = evidence.retrained
        if other is None or any(HOLDOUT not in one.scored for one in (evidence, other)):
            return
        never = in_common(*(scores(one.scored[HOLDOUT], SHARE) for one in (evidence, other)))
        for split, scored in evidence.scored.items():
            if not is_forgotten(split) or split not in other.scored:
                continue
            learned = in_common(scores(scored, SHARE), scores(other.scored[split], SHARE))
            if not learned or not never:
                continue
            own, ideal, owners = paired(learned)
            own_never, ideal_never, others = paired(never)
            columns = [np.array(side) for side in (own, own_never, ideal, ideal_never)]

            def figure(drawn: Sequence[Indices], columns: Sequence[np.ndarray] = columns) -> float:
                learned, never = drawn
                own, own_never, ideal, ideal_never = columns
                return privacy_leak(
                    auc(own_never[never], own[learned]), auc(ideal_never[never], ideal[learned])
                )

            value = figure([np.arange(len(own)), np.arange(len(own_never))])
            spread = interval(figure, [owners, others], evidence.seed)
            n = len(learned) + len(never)
            yield row(evidence, split, "privacy_leak", value, n, spread=spread)
