"""A server's message in its own form, with another text."""

from collections.abc import Sequence
from typing import Any

from guard.errors import OutputError
from guard.proxy.said import Said
from guard.proxy.schemas.restating import spent
from guard.proxy.sse import Event


def whole(value: dict[str, Any], said: Said) -> dict[str, Any]:
    """A message that came in one."""
    if not isinstance(value.get("content"), list):
        raise OutputError("the content of an upstream server's answer is none")
    made = {**value, "content": [{"type": "text", "text": said.text}]}
    made |= {"stop_reason": _reason(said), **spent(value, said.tokens)}
    if "stop_sequence" in value or said.stopped is not None:
        made["stop_sequence"] = said.stopped
    return made


def stream(events: Sequence[Event], said: Said) -> list[Event]:
    """A message that was streamed: its first block, of whatever kind it was, says the text."""
    told, opened, closed = list[Event](), False, False
    for event in events:
        value = event.data if isinstance(event.data, dict) else {}
        kind = value.get("type")
        if kind == "content_block_start" and not opened:
            opened = True
            block = {"type": "text", "text": ""}
            told.append(Event({**value, "index": 0, "content_block": block}, event.name))
            for piece in (*said.pieces, *filter(None, [said.last])):
                told.append(_delta(piece))
        elif kind == "content_block_stop" and not closed:
            closed = True
            told.append(Event({**value, "index": 0}, event.name))
        elif kind == "message_delta":
            delta = {**(value.get("delta") or {}), "stop_reason": _reason(said)}
            delta["stop_sequence"] = said.stopped
            told.append(Event({**value, "delta": delta, **spent(value, said.tokens)}, event.name))
        elif kind in ("message_start", "ping", "message_stop"):
            told.append(event)
        elif kind not in ("content_block_start", "content_block_delta", "content_block_stop"):
            raise OutputError("the upstream server sends an event that is not known")
    if not closed:
        raise OutputError("the upstream server broke off")
    return told


def _delta(text: str) -> Event:
    kind = "content_block_delta"
    return Event({"type": kind, "index": 0, "delta": {"type": "text_delta", "text": text}}, kind)


def _reason(said: Said) -> str:
    if said.stopped is not None:
        return "stop_sequence"
    return "end_turn" if said.reason == "stop" else "max_tokens"
