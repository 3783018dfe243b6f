"""The contract of a schema: how a body is read and edited, and how its answers are read and cut.

One instance serves all requests. Whatever an upstream server sends is written anew from what the
schema knows, so that a field that nobody knows carries no text to a client.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from guard.errors import OutputError
from guard.proxy.answer import Answer
from guard.proxy.checks import Checks
from guard.proxy.counting import Counter
from guard.proxy.endings import Ending
from guard.proxy.enforcement import Edit
from guard.proxy.fields import Fields
from guard.proxy.message import Refused
from guard.proxy.said import Said
from guard.proxy.sse import DONE, Event
from guard.proxy.texts import Asked

_LOGPROBS = ("logprobs", "top_logprobs", "include")


@dataclass(frozen=True)
class Told:
    """What a reply is written with.

    Attributes:
        body: The client's body.
        model: The model as the client called it.
        added: Tokens that edits have put into the prompt.
        logprobs: Whether the client asked for log-probabilities.
        hide_logprobs: Whether placeholders stand for them.
        counter: Counts tokens.
        window: The most tokens that the server takes, where it tells.
        sent: What was asked in the body's place, where that was.
    """

    body: Mapping[str, Any]
    model: str
    added: int
    logprobs: bool
    hide_logprobs: bool
    counter: Counter
    window: int | None = None
    sent: Mapping[str, Any] = field(default_factory=dict)


class Schema(ABC):
    """A way to ask."""

    path: ClassVar[str]
    fields: ClassVar[Fields]
    carries: ClassVar[frozenset[str]]  # the interventions that it has fields for
    refuses: ClassVar[bool] = False  # whatever is enforced, such a request is refused
    judged: ClassVar[bool] = True  # else the model is not asked: there is nothing to guard
    prompt: ClassVar[tuple[str, ...]] = ()  # the fields that the prompt is in
    limit: ClassVar[str | None] = None  # the field of the most tokens, where it may be left out
    usual: ClassVar[int | None] = None  # the most tokens where it is
    steers: ClassVar[bool] = False  # whether a vLLM takes ``min_tokens``

    @abstractmethod
    def read(self, body: dict[str, Any], counter: Counter) -> Asked:
        """Reads a body of known fields.

        Raises:
            Refused: It holds something that cannot be judged.
        """

    def prepared(self, body: dict[str, Any]) -> dict[str, Any]:
        """The body as the upstream server gets it, whatever was decided."""
        return body

    @abstractmethod
    def edited(self, body: dict[str, Any], edit: Edit, counter: Counter) -> dict[str, Any]:
        """The body with the edits; the client's own stays as it is."""

    @abstractmethod
    def answer(self, text: str, told: Told) -> dict[str, Any]:
        """A finished answer, whole."""

    @abstractmethod
    def stream(self, text: str, told: Told) -> list[Event]:
        """A finished answer, streamed."""

    def plain_prompt(self, body: Mapping[str, Any], text: str) -> dict[str, Any]:
        """The fields of a prompt that is this one text."""
        raise OutputError("this schema has no answer of another form")

    def prompt_tokens(self, body: Mapping[str, Any], counter: Counter) -> int:
        """How many tokens a body's prompt has."""
        return 0

    def restated(self, value: dict[str, Any], said: Said, told: Told) -> dict[str, Any]:
        """A server's answer with another text: the finished answer in the server's own form.

        Args:
            value: What the server answered to something else.
            said: What the answer says.
            told: What it is written with.

        Raises:
            OutputError: There is no place for a text in it.
        """
        raise OutputError("this schema has no answer of another form")

    def restreamed(self, events: Sequence[Event], said: Said, told: Told) -> list[Event]:
        """The same of a streamed answer, of which all events are here.

        Raises:
            OutputError: There is no place for a text in them.
        """
        raise OutputError("this schema has no answer of another form")

    @abstractmethod
    def reading(self, checks: Checks, told: Told) -> "Reading":
        """Begins to read what the upstream server answers."""

    def goes_on(self, body: Mapping[str, Any]) -> str | None:
        """The text of an answer that a vLLM can be asked to go on with; None where there is none.

        Args:
            body: What is sent.
        """
        return None

    def continued(
        self, body: dict[str, Any], left: str, phrases: Sequence[str], counter: Counter
    ) -> dict[str, Any]:
        """What is sent to have an answer gone on with; see `goes_on`.

        Args:
            body: What was sent first.
            left: What has left of the answer.
            phrases: What the rest must not say.
            counter: Counts tokens.
        """
        raise OutputError("this schema cannot have an answer gone on with")

    def without_logprobs(self, body: dict[str, Any]) -> dict[str, Any]:
        """The body without asking for log-probabilities."""
        return {name: one for name, one in body.items() if name not in _LOGPROBS}

    def error(self, refused: Refused) -> dict[str, Any]:
        """A refusal's body."""
        return refused.openai()

    def broken(self, refused: Refused) -> list[Event]:
        """What ends a stream that cannot go on."""
        return [Event(self.error(refused)), Event(DONE)]


class Reading(ABC):
    """Reads one reply of an upstream server, and writes what the client gets.

    Args:
        checks: What reads the answers in it.
        told: What it is written with.
    """

    def __init__(self, checks: Checks, told: Told) -> None:
        self.checks, self.told = checks, told
        self._answers: dict[int, Answer] = {}
        self.again: Ending | None = None  # the server is to be asked to go on
        self.resumed = 0  # tokens of the beginning that it was asked to go on from

    def of(self, number: int) -> Answer:
        """The answer of this number."""
        if number not in self._answers:
            self._answers[number] = Answer(self.checks, number)
        return self._answers[number]

    @property
    def cut(self) -> bool:
        """Whether any answer has been ended."""
        return any(answer.ended is not None for answer in self._answers.values())

    def resume(self) -> None:
        """Goes on: what comes now follows what has left."""
        self.again = None
        self.resumed = self.told.counter.count(self.of(0).left.get(self.checks.goes_on or "", ""))
        self.of(0).resume()

    @property
    @abstractmethod
    def over(self) -> bool:
        """Whether nothing more is to be read, though the server may go on."""

    @abstractmethod
    async def whole(self, value: dict[str, Any]) -> dict[str, Any]:
        """Reads a reply that came in one."""

    @abstractmethod
    async def event(self, event: Event) -> list[Event]:
        """Reads an event of a stream."""

    @abstractmethod
    async def end(self) -> list[Event]:
        """What follows where the stream is over, or has ended early."""

    def usage(self, usage: Any, *, cut: str | None = None) -> Any:
        """What was used, as it would be had the prompt not been edited.

        Args:
            usage: As the server tells it.
            cut: The answers' texts as they left, where they were cut.
        """
        if not isinstance(usage, dict):
            return usage
        found = dict(usage)
        for name in ("prompt_tokens", "input_tokens", "total_tokens"):
            if isinstance(found.get(name), int):
                found[name] = max(found[name] - self.told.added - self.resumed, 1)
        if cut is not None:
            count = self.told.counter.count(cut)
            for name in ("completion_tokens", "output_tokens"):
                if isinstance(found.get(name), int):
                    if isinstance(found.get("total_tokens"), int):
                        found["total_tokens"] += count - found[name]
                    found[name] = count
        return found
