"""The loss attack (Yeom et al., arXiv 1709.01604): a text is taken for learned if it is likely."""

from collections.abc import Iterable
from typing import ClassVar

from benchmarks.leakage.evidence import Evidence
from benchmarks.metrics.membership import area_rows
from benchmarks.result import Row


class LossMia:
    """The area under its ROC curve, what is forgotten against the holdout."""

    NAME = "loss_mia"
    BETTER = "retrained"
    FIGURES: ClassVar[dict[str, str]] = {"auc_loss": "retrained"}

    def rows(self, evidence: Evidence) -> Iterable[Row]:
        """Yields ``auc_loss``."""
        yield from area_rows(evidence, "auc_loss", 1.0)
