"""Whether answers are language: how surprised another model is by them."""

from collections.abc import Iterable
from typing import ClassVar

from benchmarks.leakage.evidence import Evidence
from benchmarks.metrics.perplexity import perplexity_rows
from benchmarks.result import Row


class Fluency:
    """The perplexity of the answers about what is forgotten, to the suite's base model.

    To the retrained model, or else the target, where there is no base model. Answers are read
    without their questions; empty, failed and blocked ones are not, and `n` counts the others.
    """

    NAME = "fluency"
    BETTER = "retrained"
    FIGURES: ClassVar[dict[str, str]] = {"answer_perplexity": "retrained"}

    def rows(self, evidence: Evidence) -> Iterable[Row]:
        """Yields ``answer_perplexity`` of each split that is forgotten."""
        yield from perplexity_rows(evidence, "answer_perplexity", evidence.read)
