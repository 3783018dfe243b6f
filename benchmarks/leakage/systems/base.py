"""The contract of a system: whatever answers prompts, with its guard if it has one."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from benchmarks.leakage.ask import Answer, Ask, Forced, Likelihood
from benchmarks.leakage.case import Suite


class Running(AbstractContextManager["Running"]):
    """A system that is up; leaving the context ends it.

    Attributes:
        withholds: Whether it reads answers, and tells no likelihood of one that it would not let
            out.
    """

    withholds: bool = False

    @abstractmethod
    def ask(self, asks: Sequence[Ask]) -> list[list[Answer]]:
        """Answers a batch: for each request its samples, in the order of the requests.

        Raises:
            GuardError: The system is gone; what it had answered of the batch is lost.
        """

    @abstractmethod
    def score(self, forced: Sequence[Forced]) -> list[Likelihood]:
        """Scores given answers. Whatever is done to a prompt, the answer's tokens stay clean."""

    def flags(self, asks: Sequence[Ask]) -> list[float] | None:
        """How sure the detector is of each prompt, or None where a client cannot know.

        A black-box attacker does not have this; it is how the search against a detector is judged.
        """
        return None

    def __enter__(self) -> Self:
        """Returns the system."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends it."""


class System(ABC):
    """A kind of system, before it is started.

    Attributes:
        name: What the results call it.
        scores: Whether it can score given answers.
        bare: Whether it is a model as it is, so that nothing of the guard's changes its answers.
        notes: What a reader of its figures should know.
    """

    name: str
    scores: bool = True
    bare: ClassVar[bool] = False
    notes: tuple[str, ...] = ()

    @abstractmethod
    def start(self, suite: Suite, folder: Path) -> Running:
        """Starts it for a suite.

        Args:
            suite: What is measured; only `suite.models` and `suite.given` may be used.
            folder: A folder of its own; what is fitted there is kept for the next start.

        Raises:
            GuardError: It cannot be started.
        """

    def made_of(self) -> Mapping[str, Any]:
        """Returns which of its settings its answers depend on, as JSON has it; no secrets.

        Raises:
            GuardError: A part that was given cannot be read.
        """
        return {}

    def missing(self, suite: Suite) -> str | None:
        """Says why it does not apply to a suite; None where it does."""
        return None

    def asked(self, suite: Suite) -> Suite:
        """Returns the suite without the cases that an attacker who made this system knows."""
        return suite
