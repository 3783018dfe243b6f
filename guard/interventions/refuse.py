"""A finished answer that knows nothing; the model is never asked."""

from typing import Any, ClassVar

from pydantic import Field

from guard.decision import Finding
from guard.interventions.base import Answer, Intervention, Request, ServedModel
from guard.options import Strict


class RefuseOptions(Strict):
    """Options of `Refuse`.

    Attributes:
        message: The answer; it should read like one that any model gives.
    """

    message: str = Field(
        default="I'm sorry, I don't have any information about that.", min_length=1
    )


class Refuse(Intervention):
    """Answers with a fixed text."""

    kind: ClassVar[str] = "refuse"
    Options: ClassVar[type[Strict]] = RefuseOptions
    strictness: ClassVar[int] = 100

    def apply(self, request: Request, finding: Finding, model: ServedModel) -> Answer:
        """Returns the message."""
        options: Any = self.options
        return Answer(options.message)
