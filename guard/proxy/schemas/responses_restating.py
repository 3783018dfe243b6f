"""A server's response in its own form, with another text."""

from collections.abc import Mapping, Sequence
from typing import Any

from guard.errors import OutputError
from guard.proxy.said import Said
from guard.proxy.schemas.base import Told
from guard.proxy.schemas.restating import spent
from guard.proxy.sse import Event

_ENDS = ("response.completed", "response.incomplete")
_ECHOED = ("tools", "tool_choice", "text")  # what the server may have been asked without


def whole(value: dict[str, Any], said: Said, told: Told) -> dict[str, Any]:
    """A response that came in one."""
    output = value.get("output")
    items = [one for one in output or [] if isinstance(one, dict) and one.get("type") == "message"]
    if not items:
        raise OutputError("the upstream server's answer has no message")
    made = {**value, "output": [_item(items[0], said)], "status": _status(said)}
    length = {"reason": "max_output_tokens"}
    made["incomplete_details"] = length if said.reason == "length" else None
    used = value.get("usage")
    made = _echoed(made, used if isinstance(used, dict) else {}, told)
    return {**made, **spent(value, said.tokens)}


def stream(events: Sequence[Event], said: Said, told: Told) -> list[Event]:
    """A response that was streamed; what it thought before is left out."""
    made, pieced = list[Event](), False
    used = next((_used(event.data) for event in reversed(events) if _used(event.data)), {})
    for event in events:
        value = event.data if isinstance(event.data, dict) else {}
        kind = str(value.get("type"))
        if kind in _ENDS:
            response = whole(value["response"], said, told)
            name = "response.completed" if said.reason == "stop" else kind
            made.append(Event({**value, "type": name, "response": response}, name))
        elif isinstance(value.get("response"), dict):
            response = _echoed(value["response"], used, told)
            made.append(Event({**value, "response": response}, event.name))
        elif kind == "response.output_text.delta":
            for piece in () if pieced else (*said.pieces, *filter(None, [said.last])):
                made.append(Event({**value, "output_index": 0, "delta": piece}, event.name))
            pieced = True
        elif kind == "response.output_text.done":
            made.append(Event({**value, "output_index": 0, "text": said.text}, event.name))
        elif kind == "response.content_part.done" and _is_text(value.get("part")):
            part = {**value["part"], "text": said.text}
            made.append(Event({**value, "output_index": 0, "part": part}, event.name))
        elif kind == "response.output_item.done" and _is_message(value.get("item")):
            item = _item(value["item"], said)
            made.append(Event({**value, "output_index": 0, "item": item}, event.name))
        elif _is_text(value.get("part")) or _is_message(value.get("item")):
            made.append(Event({**value, "output_index": 0}, event.name))
    if not pieced:
        raise OutputError("the upstream server's answer has no message")
    return made


def _echoed(response: dict[str, Any], used: Mapping[str, Any], told: Told) -> dict[str, Any]:
    """A response that tells what the client has asked for.

    Args:
        response: What the server tells.
        used: The usage at its end.
        told: What the client asked for, and what was asked in its place.
    """
    made = dict(response)
    for name in _ECHOED:
        if name in made and told.body.get(name) != told.sent.get(name):
            made[name] = told.body.get(name)
    if isinstance(made.get("max_output_tokens"), int):
        most = [told.body.get("max_output_tokens")]
        if told.window is not None and isinstance(used.get("input_tokens"), int):
            most.append(told.window - (used["input_tokens"] - told.added))
        made["max_output_tokens"] = min((one for one in most if one is not None), default=None)
    return made


def _used(value: Any) -> dict[str, Any]:
    response = value.get("response") if isinstance(value, dict) else None
    usage = response.get("usage") if isinstance(response, dict) else None
    return usage if isinstance(usage, dict) else {}


def _item(item: dict[str, Any], said: Said) -> dict[str, Any]:
    parts = [one for one in item.get("content") or [] if _is_text(one)]
    if not parts:
        raise OutputError("the upstream server's answer has no text")
    return {**item, "content": [{**parts[0], "text": said.text}]}


def _status(said: Said) -> str:
    return "completed" if said.reason == "stop" else "incomplete"


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "output_text"


def _is_message(item: Any) -> bool:
    return isinstance(item, dict) and item.get("type") == "message"
