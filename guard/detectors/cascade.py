"""Names first, the encoder only for what the names did not settle."""

from typing import Any, ClassVar

from guard.decision import Score
from guard.detectors.base import Detector, Encode, Examples, Fitted
from guard.view import View


class Cascade(Detector):
    """A composite: stands for its stages, which are fitted, stored and run as kinds of their own.

    A stage may settle that a target is touched; none may dismiss what a later one would flag.
    """

    kind: ClassVar[str] = "cascade"
    cost: ClassVar[int] = 0
    stages: ClassVar[tuple[str, ...]] = ("lexical", "similarity")

    @classmethod
    def fit(cls, examples: Examples, options: Any, encode: Encode) -> Fitted | None:
        """Never called: the stages are fitted."""
        return None

    def score(self, view: View, targets: frozenset[str]) -> dict[str, Score]:
        """Never called: the stages score."""
        return {}
