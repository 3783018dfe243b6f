"""Answers of `/v1/messages`: content blocks, whole and event by event."""

from typing import Any

from guard.errors import OutputError
from guard.proxy.endings import Ending
from guard.proxy.fields import is_bare
from guard.proxy.schemas.base import Reading
from guard.proxy.sse import Event

_TEXTS = {"text": "text", "thinking": "thinking"}
_DELTAS = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "input_json_delta": "partial_json",
}
_REASONS = {"stop": "end_turn", "content_filter": "refusal"}


class MessagesReading(Reading):
    """Reads a message; its blocks are texts of one answer."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._open: dict[int, tuple[str, str]] = {}  # a block's type, and its kind of delta
        self._next = 0
        self._usage: dict[str, Any] = {}
        self._stopped = False

    @property
    def over(self) -> bool:
        return self._stopped

    async def whole(self, value: dict[str, Any]) -> dict[str, Any]:
        answer, blocks, ending = self.of(0), list[dict[str, Any]](), None
        for number, block in enumerate(_blocks(value.get("content"))):
            told, ending = await self._block(number, block)
            if told is not None:
                blocks.append(told)
            if ending is not None:
                break
        await answer.shadow()
        made = {n: one for n, one in value.items() if is_bare(one) or n in ("id", "type")}
        made |= {
            "role": "assistant",
            "model": self.told.model,
            "content": blocks,
            "stop_reason": value.get("stop_reason"),
        }
        if isinstance(value.get("stop_sequence"), str) and not self.checks.guard.output:
            made["stop_sequence"] = value["stop_sequence"]
        if ending is not None:
            said = self._said()
            if ending.text:
                blocks.append({"type": "text", "text": ending.behind(said)})
            made |= {"stop_reason": _REASONS[ending.reason], "stop_sequence": None}
        cut = self._said() if ending is not None else None
        return {**made, "usage": self.usage(value.get("usage"), cut=cut)}

    async def _block(
        self, number: int, block: dict[str, Any]
    ) -> tuple[dict[str, Any] | None, Ending | None]:
        answer, kind = self.of(0), block["type"]
        if kind in _TEXTS:
            piece = await answer.read(f"{kind} {number}", _text(block, _TEXTS[kind]), done=True)
            made = {"type": kind, _TEXTS[kind]: piece.text}
            if kind == "thinking":
                made["signature"] = str(block.get("signature") or "")
            return (made if piece.text or piece.ending is None else None), piece.ending
        if kind == "tool_use":
            ending = await self._named(number, block)
            if ending is None and block.get("input"):
                ending = await self.unseen(f"input {number}", block["input"])
            made = {name: block.get(name) for name in ("type", "id", "name", "input")}
            return (made if ending is None else None), ending
        raise OutputError("the upstream server sends a content block that is not known")

    async def unseen(self, name: str, value: Any) -> Ending | None:
        """Reads all texts of a JSON value by themselves."""
        from guard.view import strings

        piece = await self.of(0).whole(name, "\n".join(strings(value)))
        return piece.ending

    async def _named(self, number: int, block: dict[str, Any]) -> Ending | None:
        return (await self.of(0).whole(f"name {number}", _text(block, "name"))).ending

    async def event(self, event: Event) -> list[Event]:
        value = event.data
        kind = value.get("type") if isinstance(value, dict) else None
        if self._stopped or value == "[DONE]":
            return []
        if kind == "ping":
            return [Event({"type": "ping"}, "ping")]
        if kind == "message_start":
            message = value.get("message") or {}
            self._usage = self.usage(message.get("usage")) or {}
            made = {n: one for n, one in message.items() if is_bare(one) or n in ("id", "type")}
            made |= {"role": "assistant", "model": self.told.model, "content": []}
            return [_event(kind, message={**made, "usage": self._usage})]
        if kind == "content_block_start":
            return await self._start(value)
        if kind == "content_block_delta":
            return await self._delta(value)
        if kind == "content_block_stop":
            return await self._stop(value)
        if kind == "message_delta":
            await self.of(0).shadow()
            delta = value.get("delta") or {}
            stop = delta.get("stop_sequence") if not self.checks.guard.output else None
            told = {"stop_reason": delta.get("stop_reason"), "stop_sequence": stop}
            return [_event(kind, delta=told, usage=self.usage(value.get("usage")))]
        if kind == "message_stop":
            self._stopped = True
            return [_event(kind)]
        raise OutputError("the upstream server sends an event that is not known")

    async def end(self) -> list[Event]:
        if not self._stopped:
            raise OutputError("the upstream server broke off")
        return []

    async def _start(self, value: dict[str, Any]) -> list[Event]:
        number, block = value.get("index"), value.get("content_block")
        if not isinstance(number, int) or not isinstance(block, dict):
            raise OutputError("the upstream server sends a content block that is none")
        kind = block.get("type")
        self._next = max(self._next, number + 1)
        if kind in _TEXTS:
            begun = {"type": kind, _TEXTS[kind]: ""}
            if kind == "thinking":
                begun["signature"] = ""
        elif kind == "tool_use":
            ending = await self._named(number, block)
            if ending is not None:
                return self._ended(ending)
            begun = {"type": kind, "id": block.get("id"), "name": block["name"], "input": {}}
        else:
            raise OutputError("the upstream server sends a content block that is not known")
        delta = {"text": "text_delta", "thinking": "thinking_delta"}.get(kind, "input_json_delta")
        self._open[number] = kind, delta
        events = [_event("content_block_start", index=number, content_block=begun)]
        first = block.get(_TEXTS[kind]) if kind in _TEXTS else None
        if first:
            part = {"type": delta, _DELTAS[delta]: first}
            events += await self._delta({"index": number, "delta": part})
        return events

    async def _delta(self, value: dict[str, Any]) -> list[Event]:
        number, delta = value.get("index"), value.get("delta") or {}
        kind = delta.get("type")
        if not isinstance(number, int) or number not in self._open:
            raise OutputError("the upstream server sends a delta of no content block")
        if kind == "signature_delta":
            return [_event("content_block_delta", index=number, delta={
                "type": kind, "signature": str(delta.get("signature") or ""),
            })]  # fmt: skip
        if kind not in _DELTAS or self._open[number][1] != kind:
            raise OutputError("the upstream server sends a delta that is not known")
        text = _text(delta, _DELTAS[kind])
        piece = await self.of(0).read(f"{self._open[number][0]} {number}", text)
        return self._told(number, piece.text, piece.ending, keep=not text)

    async def _stop(self, value: dict[str, Any]) -> list[Event]:
        number = value.get("index")
        if not isinstance(number, int) or number not in self._open:
            raise OutputError("the upstream server ends no content block")
        name = f"{self._open[number][0]} {number}"
        events = []
        if name in self.of(0).left:
            piece = await self.of(0).rest(name)
            events = self._told(number, piece.text, piece.ending)
            if piece.ending is not None:
                return events
        del self._open[number]
        return [*events, _event("content_block_stop", index=number)]

    def _told(
        self, number: int, text: str, ending: Ending | None, *, keep: bool = False
    ) -> list[Event]:
        kind = self._open[number][1]
        events = []
        if text or keep:
            delta = {"type": kind, _DELTAS[kind]: text}
            events = [_event("content_block_delta", index=number, delta=delta)]
        return events + (self._ended(ending) if ending is not None else [])

    def _ended(self, ending: Ending) -> list[Event]:
        """What follows a hit: open blocks are closed, and the message ends."""
        events = [_event("content_block_stop", index=number) for number in self._open]
        self._open, self._stopped = {}, True
        if ending.text:
            block = {"type": "text", "text": ""}
            delta = {"type": "text_delta", "text": ending.behind(self._said())}
            events += [
                _event("content_block_start", index=self._next, content_block=block),
                _event("content_block_delta", index=self._next, delta=delta),
                _event("content_block_stop", index=self._next),
            ]
        told = {"stop_reason": _REASONS[ending.reason], "stop_sequence": None}
        count = self.told.counter.count("".join(self.of(0).left.values()) + ending.text)
        usage = {**self._usage, "output_tokens": count}
        return [*events, _event("message_delta", delta=told, usage=usage), _event("message_stop")]

    def _said(self) -> str:
        left = self.of(0).left.items()
        return "".join(text for name, text in left if name.startswith("text "))


def _event(kind: str, **fields: Any) -> Event:
    return Event({"type": kind, **fields}, kind)


def _text(value: dict[str, Any], name: str) -> str:
    text = value.get(name)
    if not isinstance(text, str):
        raise OutputError(f"an answer's {name!r} is no text")
    return text


def _blocks(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise OutputError("the content of an upstream server's answer is none")
    return [{"type": "", **one} for one in value]
