"""Answers of `/v1/chat/completions`: whole ones and chunks, read and written anew.

A whole message and a chunk's delta hold the same: texts by name, and tool calls. So one walk does
for both; a whole message is a delta that is complete.
"""

from collections.abc import Iterator
from typing import Any

from guard.errors import OutputError
from guard.proxy.answer import Answer
from guard.proxy.counting import Counter
from guard.proxy.endings import Ending
from guard.proxy.fields import is_bare
from guard.proxy.logprobs import chat_placeholders
from guard.proxy.schemas.choices import ChoicesReading, number_of

CONTENT = "content"
_TEXTS = ("reasoning", "reasoning_content", CONTENT, "refusal")

Delta = tuple[dict[str, Any], Ending | None]  # what may leave, and how the answer ends behind it


class ChatReading(ChoicesReading):
    """Reads a chat completion."""

    async def one(self, choice: dict[str, Any], *, whole: bool, done: bool) -> Delta:
        field = "message" if whole else "delta"
        delta = choice.get(field)
        if not isinstance(delta, dict):
            if whole:
                raise OutputError("an answer of the upstream server has no message")
            delta = {}
        answer = self.of(number_of(choice))
        told, ending = await self._delta(answer, delta, done=done)
        if whole and answer.times:
            told = {"role": "assistant", **told, CONTENT: answer.left.get(CONTENT)}
        if whole and ending is not None:
            content = told.get(CONTENT) or ""
            told.pop("tool_calls", None)
            told = {"role": "assistant", **told, CONTENT: content + ending.behind(content)}
        made: dict[str, Any] = {field: told}
        if "logprobs" in choice or self.told.logprobs:
            made["logprobs"] = self.logprobs(choice.get("logprobs"), told.get(CONTENT) or "")
        if not told and delta and not done and not made.get("logprobs"):
            return {}, ending
        return made, ending

    def last(self, number: int, ending: Ending) -> dict[str, Any]:
        text = ending.behind(self.of(number).left.get(CONTENT, ""))
        return {"delta": {CONTENT: text} if text else {}, "logprobs": None}

    def placeholders(self, text: str, number: int) -> Any:
        return chat_placeholders(text)

    def prompt_tokens(self) -> int:
        return prompt_tokens(self.told.body, self.told.counter)

    async def _delta(self, answer: Answer, delta: dict[str, Any], *, done: bool) -> Delta:
        told: dict[str, Any] = {}
        for name, value in delta.items():
            if name == "role":
                told |= {} if answer.times else {"role": "assistant"}
            elif name not in (*_TEXTS, "tool_calls") and is_bare(value):
                told[name] = value
        for name in _TEXTS:
            text = delta.get(name)
            if text is not None and not isinstance(text, str):
                raise OutputError(f"an answer's {name!r} is no text")
            if text is None and not (done and name in answer.left):
                if name in delta:
                    told[name] = None
                continue
            piece = await answer.read(name, text or "", done=done)
            if piece.text or text == "":
                told[name] = piece.text
            if piece.ending is not None:
                return told, piece.ending
        calls, ending = await self._calls(answer, delta, done=done)
        if calls or ("tool_calls" in delta and not delta["tool_calls"]):
            told["tool_calls"] = calls
        return told, ending

    async def _calls(
        self, answer: Answer, delta: dict[str, Any], *, done: bool
    ) -> tuple[list[dict[str, Any]], Ending | None]:
        calls, seen = [], set[int]()
        for number, call in _tool_calls(delta):
            made, ending = await self._call(answer, number, call, done=done)
            seen.add(number)
            if made:
                calls.append(made)
            if ending is not None:
                return calls, ending
        waiting = [int(name.split()[1]) for name in answer.left if name.startswith("arguments ")]
        for number in waiting if done else []:
            if number in seen:
                continue
            piece = await answer.rest(f"arguments {number}")
            if piece.text:
                calls.append({"index": number, "function": {"arguments": piece.text}})
            if piece.ending is not None:
                return calls, piece.ending
        return calls, None

    async def _call(
        self, answer: Answer, number: int, call: dict[str, Any], *, done: bool
    ) -> Delta:
        function = call.get("function") or {}
        if not isinstance(function, dict):
            raise OutputError("an answer's tool call is none")
        kept: dict[str, Any] = {}
        name, text = function.get("name"), function.get("arguments")
        if isinstance(name, str):
            piece = await answer.whole(f"name {number}", name)
            if piece.ending is not None:
                return {}, piece.ending
            kept["name"] = name
        ending = None
        if isinstance(text, str):
            piece = await answer.read(f"arguments {number}", text, done=done)
            ending = piece.ending
            if not piece.text and text and not kept:
                return {}, ending
            kept["arguments"] = piece.text
        made: dict[str, Any] = {
            field: call[field] for field in ("id", "type", "index") if field in call
        }
        return {**made, "function": kept}, ending


def prompt_tokens(body: Any, counter: Counter) -> int:
    """How many tokens a chat's prompt has."""
    messages = body.get("messages") or []
    text = "\n".join(str(one.get("content") or "") for one in messages)
    return counter.messages(messages, body.get("tools"), text)


def _tool_calls(delta: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    calls = delta.get("tool_calls") or []
    if not isinstance(calls, list):
        raise OutputError("an answer's tool calls are no list")
    for place, call in enumerate(calls):
        if not isinstance(call, dict) or call.get("type") not in ("function", None):
            raise OutputError("an answer's tool call is none")
        number = call.get("index", place)
        if not isinstance(number, int):
            raise OutputError("a tool call's index is no number")
        yield number, call
