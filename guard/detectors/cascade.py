"""Names first, then a glance at the words, and the encoder only for the doubtful."""

from typing import Any, ClassVar

from pydantic import Field

from guard.decision import Score
from guard.detectors.base import DetectOptions, Detector, Encode, Examples, Fitted, Parts
from guard.view import View


class CascadeOptions(DetectOptions):
    """Options of the cascade.

    Attributes:
        max_miss_rate: The largest share of held-out forget rows that a cheap stage may dismiss.
        pass_rate: The share of everyday prompts that may go on from a cheap stage in any case.
        multilingual: Whether prompts in other languages get an encoder of their own.
    """

    max_miss_rate: float = Field(default=0.005, ge=0, lt=1)
    pass_rate: float = Field(default=0.02, ge=0, le=1)
    multilingual: bool = True


class Cascade(Detector):
    """A composite of stages, which are fitted, stored and run as kinds of their own."""

    kind: ClassVar[str] = "cascade"
    Options: ClassVar[type[DetectOptions]] = CascadeOptions
    cost: ClassVar[int] = 0
    stages: ClassVar[tuple[str, ...]] = ("lexical", "static", "similarity", "multilingual")
    first: ClassVar[str] = "quick"

    @classmethod
    def fit(
        cls, examples: Examples, options: Any, encode: Encode, shared: Parts | None = None
    ) -> Fitted | None:
        """Never called: the stages are fitted."""
        return None

    def score(self, view: View, targets: frozenset[str]) -> dict[str, Score]:
        """Never called: the stages score."""
        return {}
