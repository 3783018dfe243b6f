"""Min-k % (Shi et al., arXiv 2310.16789, section 3).

A text is taken for learned if the least likely of its tokens are likely: 20 % of them are the
source's choice, 40 % MUSE's.
"""

from collections.abc import Iterable
from typing import ClassVar

from benchmarks.leakage.evidence import Evidence
from benchmarks.metrics.membership import area_rows
from benchmarks.result import Row

SHARES = {"auc_min_20": 0.2, "auc_min_40": 0.4}


class MinK:
    """The area under its ROC curve, what is forgotten against the holdout."""

    NAME = "min_k"
    BETTER = "retrained"
    FIGURES: ClassVar[dict[str, str]] = dict.fromkeys(SHARES, "retrained")

    def rows(self, evidence: Evidence) -> Iterable[Row]:
        """Yields ``auc_min_20`` and ``auc_min_40``."""
        for name, share in SHARES.items():
            yield from area_rows(evidence, name, share)
