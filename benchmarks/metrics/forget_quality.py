"""Whether truth ratios can be told from the retrained model's (TOFU, arXiv 2401.06121, 2.2.2)."""

from collections.abc import Iterable, Sequence
from typing import ClassVar

from benchmarks.leakage.evidence import Evidence
from benchmarks.metrics.figures import is_forgotten, row
from benchmarks.metrics.truth_ratio import geometric_truth_ratio, ratios, truth_ratio
from benchmarks.result import Row


def forget_quality(ratios: Sequence[float], retrained: Sequence[float]) -> float:
    """The p-value of a two-sample Kolmogorov-Smirnov test of truth ratios.

    Args:
        ratios: Of the model in question, one a forget question.
        retrained: Of the model that never learned them.

    Returns:
        1 where the two cannot be told apart; the test has little power with few questions.
    """
    from scipy.stats import ks_2samp

    return float(ks_2samp(ratios, retrained).pvalue)


class ForgetQuality:
    """The KS test's p-value; it has no interval, and needs the retrained model."""

    NAME = "forget_quality"
    BETTER = "higher"
    FIGURES: ClassVar[dict[str, str]] = {
        "forget_quality": "higher",
        "forget_quality_geometric": "higher",
    }

    def rows(self, evidence: Evidence) -> Iterable[Row]:
        """Yields ``forget_quality`` and ``forget_quality_geometric``; see `truth_ratio`.

        `n` counts the system's questions; with fewer than the retrained model's, it withheld some.
        """
        if evidence.retrained is None:
            return
        kinds = {"forget_quality": truth_ratio, "forget_quality_geometric": geometric_truth_ratio}
        for split, scored in evidence.scored.items():
            other = evidence.retrained.scored.get(split)
            if other is None or not is_forgotten(split):
                continue
            for name, ratio in kinds.items():
                own, ideal = ([v for _, v in ratios(one, ratio)] for one in (scored, other))
                if own and ideal:
                    value = forget_quality(own, ideal)
                    yield row(evidence, split, name, value, len(own))
