"""A server's answer in its own form, with another text: chat completions and completions."""

from collections.abc import Sequence
from typing import Any

from guard.errors import OutputError
from guard.proxy.said import Said
from guard.proxy.schemas.choices import choices_of, number_of
from guard.proxy.sse import DONE, Event

_MODELS = ("reasoning", "reasoning_content", "refusal", "tool_calls", "function_call")


def whole(value: dict[str, Any], said: Said, holder: str | None) -> dict[str, Any]:
    """An answer that came in one.

    Args:
        value: The answer.
        said: What it is to say.
        holder: What of a choice holds its text as ``content``; None where it is its ``text``.
    """
    choices = choices_of(value.get("choices"))
    if not choices:
        raise OutputError("the upstream server's answer has no choices")
    made = {**value, "choices": [_put(one, holder, said.text, said) for one in choices]}
    return {**made, **spent(value, said.tokens * len(choices))}


def stream(events: Sequence[Event], said: Said, holder: str | None) -> list[Event]:
    """An answer that was streamed: how it begins, a chunk for each piece, and how it ends."""
    begun, after = list[dict[str, Any]](), list[dict[str, Any]]()
    middles, ends = dict[int, dict[str, Any]](), dict[int, dict[str, Any]]()
    for event in events:
        if event.data == DONE:
            continue
        chunk = event.data
        if chunk.get("error") is not None:
            raise OutputError("the upstream server sends an error")
        choices = choices_of(chunk.get("choices"))
        if not choices:
            (after if ends else begun).append(chunk)
        for choice in choices:
            number = number_of(choice)
            one = {**chunk, "choices": [choice]}
            if choice.get("finish_reason") is not None:
                ends[number] = one
            elif _opens(choice, holder):
                begun.append(_said(one, holder, ""))
            else:
                middles.setdefault(number, one)
    if not ends:
        raise OutputError("the upstream server broke off")
    # Whether each chunk tells what is spent, or the last one alone.
    spends = any("usage" in chunk for chunk in (*begun, *after))
    count, told = len(ends), begun
    for done, piece in enumerate(said.pieces, 1):
        for number, end in ends.items():
            chunk = _said(middles.get(number) or _middle(end, holder, spends), holder, piece)
            told.append({**chunk, **spent(chunk, min(done, said.tokens) * count)})
    for end in ends.values():
        choice = _put(end["choices"][0], holder, said.last, said)
        told.append({**end, "choices": [choice], **spent(end, said.tokens * count)})
    told += [{**chunk, **spent(chunk, said.tokens * count)} for chunk in after]
    return [*map(Event, told), Event(DONE)]


def spent(value: dict[str, Any], tokens: int) -> dict[str, Any]:
    """The usage of an answer of so many tokens, where it tells one."""
    usage = value.get("usage")
    if not isinstance(usage, dict):
        return {}
    made = dict(usage)
    for name in ("completion_tokens", "output_tokens"):
        if isinstance(made.get(name), int):
            if isinstance(made.get("total_tokens"), int):
                made["total_tokens"] += tokens - made[name]
            made[name] = tokens
    return {"usage": made}


def _opens(choice: dict[str, Any], holder: str | None) -> bool:
    """Whether a chunk is the first of its answer, which tells who speaks."""
    return holder is not None and "role" in (choice.get(holder) or {})


def _middle(end: dict[str, Any], holder: str | None, spends: bool) -> dict[str, Any]:
    """A chunk as it is before the end: a server that is behind tells all its tokens with that."""
    choice = {**end["choices"][0], "finish_reason": None}
    if holder is None and "stop_reason" in choice:
        choice["stop_reason"] = None  # vLLM's completions name it in each chunk, chats in the last
    else:
        choice.pop("stop_reason", None)
    left = ("system_fingerprint",) if spends else ("system_fingerprint", "usage")
    return {**{name: one for name, one in end.items() if name not in left}, "choices": [choice]}


def _said(chunk: dict[str, Any], holder: str | None, text: str) -> dict[str, Any]:
    choice = chunk["choices"][0]
    return {**chunk, "choices": [{**choice, **_text(choice, holder, text)}]}


def _text(choice: dict[str, Any], holder: str | None, text: str) -> dict[str, Any]:
    if holder is None:
        return {"text": text}
    held = choice.get(holder) or {}
    if holder == "message":
        return {holder: {**_emptied(held), "content": text}}
    kept = {name: one for name, one in held.items() if name not in (*_MODELS, "content")}
    return {holder: {**kept, "content": text} if text or "role" in held else kept}


def _emptied(message: dict[str, Any]) -> dict[str, Any]:
    """A message without what else the model may have said."""
    kept = {name: one for name, one in message.items() if name not in _MODELS or not one}
    texts = [name for name in message if name in _MODELS and isinstance(message[name], str)]
    return {name: kept.get(name) for name in message if name in kept or name in texts}


def _put(choice: dict[str, Any], holder: str | None, text: str, said: Said) -> dict[str, Any]:
    made = {**choice, **_text(choice, holder, text), "finish_reason": said.reason}
    return {**made, "stop_reason": said.stopped} if "stop_reason" in choice else made
