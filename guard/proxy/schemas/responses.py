"""`/v1/responses`. Stored conversations are refused: what they hold is not in the body."""

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from guard.proxy.checks import Checks
from guard.proxy.counting import Counter
from guard.proxy.enforcement import ADAPTER, INSTRUCT, REFUSE, Edit
from guard.proxy.fields import Fields, names
from guard.proxy.message import Refused
from guard.proxy.said import Said
from guard.proxy.schemas import common
from guard.proxy.schemas import responses_items as items
from guard.proxy.schemas import responses_restating as restating
from guard.proxy.schemas.base import Schema, Told
from guard.proxy.schemas.chat import PARTS, ROLES
from guard.proxy.schemas.responses_answer import ResponsesReading
from guard.proxy.sse import Event
from guard.proxy.texts import Asked, Texts, content_texts

_STORED = "conversations that a server keeps are not served here; send the whole conversation"
_OUTPUTS = ("function_call_output", "custom_tool_call_output")
_CALLS = ("function_call", "custom_tool_call")
_LOGPROBS = "message.output_text.logprobs"


class Responses(Schema):
    """Responses."""

    path = "/v1/responses"
    carries: ClassVar[frozenset[str]] = frozenset({REFUSE, INSTRUCT, ADAPTER})
    prompt, limit = ("input", "instructions"), "max_output_tokens"
    fields: ClassVar[Fields] = Fields(
        read=(common.STEERING - {"bad_words"})
        | names(
            """input instructions tools tool_choice text reasoning include
                truncation chat_template_kwargs"""
        ),
        plain=common.SAMPLING | {"max_output_tokens", "max_tool_calls", "top_logprobs"},
        labels=common.LABELS,
        dropped=common.DROPPED,
        refused={
            **common.REFUSED,
            **dict.fromkeys(("previous_response_id", "conversation", "prompt"), _STORED),
            "previous_input_messages": _STORED,
            "background": "answers are not kept here to be fetched later",
            "context_management": "this server serves prompts whole; leave it out",
        },
    )

    def read(self, body: dict[str, Any], counter: Counter) -> Asked:
        texts = Texts()
        if not isinstance(body.get("instructions"), str | None):
            raise Refused("instructions: give a text", param="instructions")
        texts.say("system", body.get("instructions") or "")
        for tool in body.get("tools") or []:
            if not isinstance(tool, dict) or tool.get("type") not in ("function", "custom"):
                raise Refused("tools: only functions of the client's own are served", param="tools")
        for name in ("tools", "tool_choice", "reasoning"):
            texts.note("tools", body.get(name))
        common.read_kwargs(texts, body)
        asked = body.get("input")
        if isinstance(asked, str):
            texts.say("user", asked)
        elif isinstance(asked, list) and asked:
            for number, item in enumerate(asked):
                _read_item(texts, item, f"input[{number}]")
        else:
            raise Refused("input: give a text or a list of items", param="input")
        if body.get("truncation") not in (None, "disabled"):
            raise Refused("truncation: this server serves prompts whole", param="truncation")
        texts.steer(body.get("text"))
        common.read_steering(texts, body, counter)
        include = body.get("include") or []
        if any(one != _LOGPROBS for one in include):
            raise Refused(f"include: only {_LOGPROBS} can be asked for", param="include")
        logprobs = bool(include) or bool(body.get("top_logprobs"))
        return Asked(texts.view(), tuple(texts.steering), body.get("stream") is True, 1, logprobs)

    def prepared(self, body: dict[str, Any]) -> dict[str, Any]:
        return {**body, "store": False}  # what has not been read must not be kept to be fetched

    def edited(self, body: dict[str, Any], edit: Edit, counter: Counter) -> dict[str, Any]:
        found, rest = dict(body), []
        for one in edit.instructions:
            if one.where == "system" and body.get("instructions"):
                found["instructions"] = common.behind(found["instructions"], one.text)
            else:
                rest.append(one)
        if isinstance(body["input"], str):
            front = "".join(f"{one.text}\n\n" for one in rest)
            found["input"] = f"{front}{body['input']}"
        else:
            found["input"] = common.instructed(body["input"], rest, "input_text")
        return found

    def answer(self, text: str, told: Told) -> dict[str, Any]:
        body = told.body
        completion = told.counter.count(text)
        return {
            "id": f"resp_{uuid.uuid4().hex}",
            "object": "response",
            "created_at": int(time.time()),
            "model": told.model,
            "status": "completed",
            "output": [items.message(text)],
            "incomplete_details": None,
            "instructions": body.get("instructions"),
            "metadata": body.get("metadata"),
            "parallel_tool_calls": body.get("parallel_tool_calls", True),
            "temperature": body.get("temperature", 1.0),
            "tool_choice": body.get("tool_choice", "auto"),
            "tools": body.get("tools") or [],
            "top_p": body.get("top_p", 1.0),
            "background": False,
            "max_output_tokens": body.get("max_output_tokens"),
            "previous_response_id": None,
            "reasoning": body.get("reasoning"),
            "text": body.get("text"),
            "truncation": "disabled",
            "user": body.get("user"),
            "usage": items.usage(prompt_tokens(body, told.counter), completion),
        }

    def stream(self, text: str, told: Told) -> list[Event]:
        response = self.answer(text, told)
        (item,) = response["output"]
        begun = {**response, "status": "in_progress", "output": [], "usage": None}
        events = [
            items.event("response.created", response=begun),
            items.event("response.in_progress", response=begun),
            *items.message_events(item, 0),
            items.event("response.completed", response=response),
        ]
        return [
            Event({**event.data, "sequence_number": number}, event.name)
            for number, event in enumerate(events)
        ]

    def plain_prompt(self, body: Mapping[str, Any], text: str) -> dict[str, Any]:
        return {"input": text}

    def prompt_tokens(self, body: Mapping[str, Any], counter: Counter) -> int:
        return prompt_tokens(body, counter)

    def restated(self, value: dict[str, Any], said: Said, told: Told) -> dict[str, Any]:
        return restating.whole(value, said, told)

    def restreamed(self, events: Sequence[Event], said: Said, told: Told) -> list[Event]:
        return restating.stream(events, said, told)

    def reading(self, checks: Checks, told: Told) -> ResponsesReading:
        return ResponsesReading(checks, told)

    def broken(self, refused: Refused) -> list[Event]:
        said = refused.openai()["error"]
        told = {"type": "error", "code": said["type"], "message": said["message"], "param": None}
        return [Event({**told, "sequence_number": 0}, "error")]


def prompt_tokens(body: Any, counter: Counter) -> int:
    """How many tokens a prompt has."""
    asked = body.get("input")
    items_ = [{"role": "user", "content": asked}] if isinstance(asked, str) else asked
    system = body.get("instructions")
    messages = [*([{"role": "system", "content": system}] if system else []), *items_]
    text = "\n".join(str(one.get("content") or one.get("output") or "") for one in messages)
    simple = all(isinstance(one.get("content"), str) for one in messages)
    return counter.messages(messages, None, text) if simple else counter.count(text)


def _read_item(texts: Texts, item: Any, where: str) -> None:
    """Adds what an input item says.

    Raises:
        Refused: It is of a kind that cannot be read.
    """
    kind = item.get("type", "message") if isinstance(item, dict) else None
    if kind == "message":
        if item.get("role") not in ROLES:
            raise Refused(f"{where}.role: one of {', '.join(ROLES)}", param="input")
        role = "system" if item["role"] == "developer" else str(item["role"])
        for text, beside in content_texts(item.get("content"), PARTS, f"{where}.content"):
            texts.say(role, text or "")
            texts.note(role, beside)
        read = {"role", "content", "type"}
    elif kind in _CALLS:
        role, read = "assistant", {"type"}
    elif kind in _OUTPUTS:
        for text, beside in content_texts(item.get("output"), PARTS, f"{where}.output"):
            texts.say("tool", text or "")
            texts.note("tool", beside)
        role, read = "tool", {"type", "output"}
    elif kind == "reasoning":
        if item.get("encrypted_content"):
            raise Refused(f"{where}: encrypted content cannot be read here", param="input")
        role, read = "assistant", {"type"}
    else:
        raise Refused(f"{where}: items of type {str(kind)[:40]!r} cannot be sent", param="input")
    texts.note(role, {name: one for name, one in item.items() if name not in read})
