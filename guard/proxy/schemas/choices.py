"""What chat completions and completions have in common: choices, chunks, usage and an end."""

from abc import abstractmethod
from typing import Any

from guard.errors import OutputError
from guard.proxy.endings import Ending
from guard.proxy.fields import is_bare
from guard.proxy.schemas.base import Reading
from guard.proxy.sse import DONE, Event

_TOP = ("id", "object", "created", "service_tier", "system_fingerprint")


class ChoicesReading(Reading):
    """Reads a reply that has choices."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._count = int(self.told.body.get("n") or 1) * self.prompts
        self._finished: set[int] = set()
        self._frame: dict[str, Any] = {}
        self._first: dict[str, Any] = {}  # what an answer that is gone on with keeps
        self._usage = False
        self._ended = False

    prompts = 1

    @abstractmethod
    async def one(
        self, choice: dict[str, Any], *, whole: bool, done: bool
    ) -> tuple[dict[str, Any], Ending | None]:
        """What may leave of a choice, and how its answer ends behind it.

        Args:
            choice: What came of it.
            whole: Whether it is all of it, in the form of a reply that is not streamed.
            done: Whether nothing more comes.
        """

    @abstractmethod
    def last(self, number: int, ending: Ending) -> dict[str, Any]:
        """The last chunk's choice of an answer that was ended."""

    @abstractmethod
    def placeholders(self, text: str, number: int) -> Any:
        """What stands for the log-probabilities of a text."""

    @abstractmethod
    def prompt_tokens(self) -> int:
        """How many tokens the client's prompt has."""

    @property
    def over(self) -> bool:
        # A stream that was not cut goes on to its usage and its end.
        return self.cut and len(self._finished) >= self._count

    async def whole(self, value: dict[str, Any]) -> dict[str, Any]:
        made, choices = self._top(value), []
        if not value.get("choices"):
            raise OutputError("the upstream server's answer has no choices")
        for choice in choices_of(value["choices"]):
            told, ending = await self.one(choice, whole=True, done=True)
            if ending is not None and ending.again is not None:
                self.again = ending
                return {}
            await self.of(number_of(choice)).shadow()
            reason = choice.get("finish_reason") if ending is None else ending.reason
            choices.append(self._choice(choice, told, reason))
        made["choices"] = choices
        if "usage" in value:
            made["usage"] = self._used(value["usage"])
        return made

    async def event(self, event: Event) -> list[Event]:
        if event.data == DONE:
            return []
        chunk: dict[str, Any] = event.data
        if "error" in chunk:
            raise OutputError("the upstream server sends an error")
        self._frame = made = self._top(chunk)
        usage = {"usage": self._used(chunk["usage"])} if "usage" in chunk else {}
        came = choices_of(chunk.get("choices"))
        choices, after = [], []
        for choice in came:
            number = number_of(choice)
            if number in self._finished:
                continue
            done = choice.get("finish_reason") is not None
            told, ending = await self.one(choice, whole=False, done=done)
            reason = None if ending is not None else choice.get("finish_reason")
            if told:
                choices.append(self._choice(choice, told, reason))
            if ending is not None and ending.again is not None:
                self.again = ending
                break
            if ending is not None:
                last = {"index": number, **self.last(number, ending)}
                after.append({**last, "finish_reason": ending.reason})
            elif done:
                await self.of(number).shadow()
            if done or ending is not None:
                self._finished.add(number)
        events = [Event({**made, "choices": choices, **usage})] if choices or not came else []
        self._usage = self._usage or (bool(chunk.get("usage")) and not came)
        return events + [Event({**made, "choices": [one]}) for one in after]

    async def end(self) -> list[Event]:
        if self._ended:
            return []
        self._ended = True
        if len(self._finished) < self._count:
            raise OutputError("the upstream server broke off")
        events = []
        if (self.told.body.get("stream_options") or {}).get("include_usage") and not self._usage:
            usage = used(self.prompt_tokens(), self.told.counter.count(self._texts()))
            events.append(Event({**self._frame, "choices": [], "usage": usage}))
        return [*events, Event(DONE)]

    def logprobs(self, value: Any, text: str, number: int = 0) -> Any:
        """The log-probabilities that a choice tells."""
        if self.told.logprobs and self.told.hide_logprobs:
            return self.placeholders(text, number) if text else None
        return value if self.told.logprobs else None

    def _used(self, usage: Any) -> Any:
        changed = self.cut or self.resumed
        return self.usage(usage, cut=self._texts() if changed else None)

    def _texts(self) -> str:
        return "".join(text for one in self._answers.values() for text in one.left.values())

    def _top(self, value: dict[str, Any]) -> dict[str, Any]:
        kept = {
            name: one
            for name, one in value.items()
            if name in _TOP or (name not in ("usage", "choices") and is_bare(one))
        }
        self._first = self._first or {"id": value.get("id"), "created": value.get("created")}
        return {**kept, **self._first, "model": self.told.model}

    def _choice(self, choice: dict[str, Any], told: dict[str, Any], reason: Any) -> dict[str, Any]:
        ours = {*told, "logprobs", "finish_reason", "stop_reason"}
        made = {name: one for name, one in choice.items() if name not in ours and is_bare(one)}
        made |= {"index": number_of(choice), **told, "finish_reason": reason}
        if "stop_reason" in choice:  # a text may be the end of what was held back
            stop = choice["stop_reason"]
            shown = is_bare(stop) or not self.checks.guard.output
            made["stop_reason"] = stop if shown and reason is not None else None
        return made


def used(prompt: int, completion: int) -> dict[str, int]:
    """A usage as chat completions and completions have it."""
    return {
        "prompt_tokens": prompt,
        "total_tokens": prompt + completion,
        "completion_tokens": completion,
    }


def number_of(choice: dict[str, Any]) -> int:
    """Which of the answers a choice belongs to."""
    number = choice.get("index", 0)
    if not isinstance(number, int):
        raise OutputError("an answer's index is no number")
    return number


def choices_of(value: Any) -> list[dict[str, Any]]:
    """The choices of an answer.

    Raises:
        OutputError: They are none.
    """
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise OutputError("the choices of an upstream server's answer are none")
    return value
