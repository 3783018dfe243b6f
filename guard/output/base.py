"""The contract of a check: it reads an answer as it is written, and tells what of it may leave.

One instance of a check knows all targets; each answer has a `Reader` of its own. A reader is a pure
function of what it was told: it asks for sentence vectors (`Claim`), and whoever drives it gets
them, off the event loop and many at a time. It never sees the engine.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from guard.detectors.base import Examples, Vectors
from guard.disguise import readings
from guard.interventions.base import Material
from guard.options import Strict
from guard.parts import Parts

__all__ = ["Asked", "Check", "Claim", "Examples", "Hit", "Known", "Material", "Reader", "Reading"]


@dataclass(frozen=True)
class Asked:
    """What an answer is an answer to.

    Attributes:
        question: What the user said last.
        prompt: All that the model reads before its answer.
        given: Targets that may be answered about with what the prompt itself brings: a name or a
            fact that stands in ``prompt`` is no leak then (policy ``context: allow``).
        doubted: Targets that the prompt is suspected of: every sentence is to be weighed.
    """

    question: str
    prompt: str
    given: frozenset[str] = frozenset()
    doubted: frozenset[str] = frozenset()

    @cached_property
    def readings(self) -> tuple[str, ...]:
        """What the question comes down to where something in it is disguised."""
        return tuple(reading.text for reading in readings(self.question))

    @property
    def meant(self) -> str:
        """The question without its outermost disguise, as its meaning is weighed."""
        return next(iter(self.readings), self.question)


@dataclass(frozen=True)
class Hit:
    """Something that must not leave.

    Attributes:
        check: The kind of check that found it.
        target: The target's id.
        start: Its first character in the answer.
        end: Its last character plus one.
        phrases: What the rest of the answer must not say either, as written; never logged.
    """

    check: str
    target: str
    start: int
    end: int
    phrases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Claim:
    """A sentence of the answer that only its meaning can decide about.

    Attributes:
        target: The target that it may tell of.
        start: Where in the answer a hit would begin.
        end: Its last character plus one.
        text: What is to be encoded; never logged.
    """

    target: str
    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Reading:
    """What is known of an answer so far.

    Attributes:
        safe: So many characters may leave, as far as this check goes. It never falls from one
            reading to the next, and a hit never begins before what an earlier reading let go.
        hit: What must not leave, the first in the answer.
        claims: What is to be weighed (`Reader.weigh`) before more than ``safe`` may leave.
    """

    safe: int
    hit: Hit | None = None
    claims: tuple[Claim, ...] = ()


class Reader(ABC):
    """Reads one answer."""

    @abstractmethod
    def read(self, text: str, *, done: bool) -> Reading:
        """Reads on.

        Args:
            text: The answer so far; it begins with what was read before.
            done: Whether that is all.
        """

    def weigh(  # noqa: B027  (most checks ask for nothing)
        self, claim: Claim, vector: Vectors
    ) -> None:
        """Takes the vector of a claim that was asked for, float32 [d]; `read` then knows more.

        Args:
            claim: The claim.
            vector: Of its text, of length 1.
        """


@dataclass(frozen=True)
class Known:
    """What a check knows of one target: what its `Check.fit` returned, and the policy's options."""

    target: str
    options: Any
    parts: Parts


class Check(ABC):
    """A kind of check.

    Args:
        known: Of each target that is checked for.
    """

    kind: ClassVar[str]
    Options: ClassVar[type[Strict]] = Strict
    slow: ClassVar[bool] = False  # whether a target had better be protected before `fit` is done

    def __init__(self, known: Sequence[Known]) -> None:
        self.known = known

    @classmethod
    @abstractmethod
    def fit(cls, material: Material, options: Any) -> Parts:
        """Prepares what the check needs to know of a target: the least that will do.

        Args:
            material: The target's rows, the encoder and the served model.
            options: An instance of `Options`.

        Raises:
            GuardError: The material does not do; the message says what would.
        """

    @abstractmethod
    def start(self, asked: Asked) -> Reader:
        """Begins to read an answer."""
