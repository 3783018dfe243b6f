"""Items and events of `/v1/responses`: their texts by name, and items written anew."""

import uuid
from collections.abc import Iterator
from typing import Any

from guard.errors import OutputError
from guard.proxy.fields import is_bare, names
from guard.proxy.sse import Event

# An item's lists of parts: the part's type, the field of its text, and the name of the text.
_PARTS = {
    "content": {
        "output_text": ("text", "text"),
        "refusal": ("refusal", "refusal"),
        "reasoning_text": ("text", "reason"),
    },
    "summary": {"summary_text": ("text", "summary")},
}
_FIELDS = {"function_call": "arguments", "custom_tool_call": "input"}
_KEPT = ("id", "type", "status", "role", "call_id", "name")
_ECHOED = names(
    """id object status incomplete_details metadata tools tool_choice text reasoning
    truncation service_tier user prompt_cache_key"""
)

Place = tuple[str, dict[str, Any], str]  # a text's name, what holds it, and the field there


def texts_of(item: dict[str, Any], number: int) -> Iterator[Place]:
    """The texts of an item that was written anew, in their order.

    Args:
        item: The item.
        number: Its place in the output.
    """
    for field, kinds in _PARTS.items():
        for place, part in enumerate(item.get(field) or []):
            name, what = kinds[part["type"]]
            yield f"{what} {number} {place}", part, name
    if item["type"] in _FIELDS:
        field = _FIELDS[item["type"]]
        yield f"{field} {number} 0", item, field


def item_anew(item: Any) -> dict[str, Any]:
    """An item with what is known of it only.

    Raises:
        OutputError: It is of a kind that could not be read.
    """
    kind = item.get("type") if isinstance(item, dict) else None
    if kind not in ("message", "reasoning", *_FIELDS):
        raise OutputError("the upstream server sends an output item that is not known")
    made = {name: one for name, one in item.items() if name in _KEPT or is_bare(one)}
    for field, kinds in _PARTS.items():
        if isinstance(item.get(field), list):
            made[field] = [part_anew(part, kinds) for part in item[field]]
    if kind in _FIELDS:
        made[_FIELDS[kind]] = _text(item.get(_FIELDS[kind]) or "")
        made["name"] = _text(item.get("name"))
    if kind == "message":
        made["role"] = "assistant"
    return made


def part_anew(part: Any, kinds: dict[str, tuple[str, str]] | None = None) -> dict[str, Any]:
    """A part with what is known of it only.

    Raises:
        OutputError: It is of a kind that could not be read.
    """
    known = kinds or {**_PARTS["content"], **_PARTS["summary"]}
    kind = part.get("type") if isinstance(part, dict) else None
    if kind not in known:
        raise OutputError("the upstream server sends a part that is not known")
    field = known[kind][0]
    made = {name: one for name, one in part.items() if is_bare(one)}
    made |= {"type": kind, field: _text(part.get(field) or "")}
    if isinstance(part.get("logprobs"), list):
        made["logprobs"] = part["logprobs"]
    return made


def holding(part: dict[str, Any], place: int) -> dict[str, Any]:
    """An item of which only one part is known, so that its text has its name."""
    if part["type"] == "summary_text":
        before = [{"type": "summary_text", "text": ""}] * place
        return {"type": "reasoning", "summary": [*before, part]}
    before = [{"type": "output_text", "text": ""}] * place
    return {"type": "message", "content": [*before, part]}


def response_anew(value: Any, model: str, instructions: Any) -> dict[str, Any]:
    """A response without its output and usage, as it would be had nothing been edited.

    Raises:
        OutputError: It is none, or tells an error.
    """
    if not isinstance(value, dict) or value.get("error") is not None:
        raise OutputError("the upstream server sends an error")
    made = {name: one for name, one in value.items() if name in _ECHOED or is_bare(one)}
    made |= {"model": model, "output": []}
    if "instructions" in value:
        made["instructions"] = instructions
    return made


def output_of(value: dict[str, Any]) -> list[Any]:
    """The items of a response.

    Raises:
        OutputError: It has none.
    """
    output = value.get("output")
    if not isinstance(output, list):
        raise OutputError("the output of an upstream server's answer is none")
    return output


def message(text: str, status: str = "completed") -> dict[str, Any]:
    """A message item."""
    part: dict[str, Any] = {"type": "output_text", "text": text}
    part |= {"annotations": [], "logprobs": None}
    return {
        "id": f"msg_{uuid.uuid4().hex}",
        "type": "message",
        "role": "assistant",
        "status": status,
        "content": [part],
    }


def append(item: dict[str, Any], text: str) -> None:
    """Puts a text behind what has left of a message; its empty parts are taken away."""
    parts = [part for part in item["content"] if part.get("text") or part.get("refusal")]
    kept = parts or [message("")["content"][0]]
    kept[-1] = {**kept[-1], "logprobs": None}
    if "text" in kept[-1]:
        kept[-1]["text"] += text
    item["content"] = kept


def message_events(item: dict[str, Any], number: int) -> list[Event]:
    """The events of a message item, from its beginning to its end."""
    (part,) = item["content"]
    at = {"item_id": item["id"], "output_index": number, "content_index": 0}
    begun = {**item, "status": "in_progress", "content": []}
    added = event("response.output_item.added", output_index=number, item=begun)
    opened = event("response.content_part.added", **at, part={**part, "text": ""})
    said = event("response.output_text.delta", **at, delta=part["text"], logprobs=[])
    return [added, opened, said, *text_done(item, number, 0)]


def text_done(item: dict[str, Any], number: int, place: int) -> list[Event]:
    """The events that end a message item behind its text."""
    part = item["content"][place]
    at = {"item_id": item["id"], "output_index": number, "content_index": place}
    return [
        event("response.output_text.done", **at, text=part["text"], logprobs=[]),
        event("response.content_part.done", **at, part=part),
        event("response.output_item.done", output_index=number, item=item),
    ]


def usage(prompt: int, completion: int) -> dict[str, Any]:
    """What was used."""
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": prompt + completion,
    }


def event(kind: str, **fields: Any) -> Event:
    """An event; its number is given when it is sent."""
    return Event({"type": kind, **fields}, kind)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise OutputError("an answer's text is none")
    return value
