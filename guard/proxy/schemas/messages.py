"""`/v1/messages`, as Anthropic's clients ask."""

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
from guard.proxy.schemas import messages_restating as restating
from guard.proxy.schemas.base import Reading, Schema, Told
from guard.proxy.schemas.messages_answer import MessagesReading
from guard.proxy.sse import Event
from guard.proxy.texts import Asked, Texts, content_texts

PARTS = {
    "text": "text",
    "thinking": "thinking",
    "tool_use": "name",
    "tool_result": "tool_use_id",  # what it holds is read beside it
    "tool_reference": "tool_name",
}
_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    413: "request_too_large",
    503: "overloaded_error",
}
UNREAD = "what it brings cannot be read by this server's guard; leave it out"


class Messages(Schema):
    """Anthropic's messages."""

    path = "/v1/messages"
    carries: ClassVar[frozenset[str]] = frozenset({REFUSE, INSTRUCT, ADAPTER})
    prompt = ("messages", "system")
    fields: ClassVar[Fields] = Fields(
        read=names(
            """messages system tools tool_choice output_config stop_sequences
                thinking chat_template_kwargs"""
        ),
        plain=frozenset({"max_tokens", "stream", "temperature", "top_k", "top_p", "watermarking"}),
        labels=frozenset({"model", "metadata", "service_tier", "cache_salt", "cache_control"}),
        refused={
            **common.REFUSED,
            **dict.fromkeys(
                ("inference_geo", "speed", "diagnostics", "context_management"), UNREAD
            ),
        },
    )

    def read(self, body: dict[str, Any], counter: Counter) -> Asked:
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            raise Refused("messages: give a list of messages", param="messages")
        texts = Texts()
        for text, beside in content_texts(body.get("system"), {"text": "text"}, "system"):
            texts.say("system", text or "")
            texts.note("system", beside)
        for name in ("tools", "tool_choice", "thinking"):
            texts.note("tools", body.get(name))
        for tool in body.get("tools") or []:
            if not isinstance(tool, dict) or tool.get("type", "custom") != "custom":
                raise Refused("tools: only tools of the client's own are served", param="tools")
        common.read_kwargs(texts, body)
        for number, message in enumerate(messages):
            _read_message(texts, message, f"messages[{number}]")
        texts.steer(body.get("output_config"))
        common.read_steering(texts, {"stop_sequences": body.get("stop_sequences")}, counter)
        return Asked(texts.view(), tuple(texts.steering), body.get("stream") is True)

    def edited(self, body: dict[str, Any], edit: Edit, counter: Counter) -> dict[str, Any]:
        found, rest = dict(body), []
        for one in edit.instructions:
            if one.where == "system" and body.get("system"):
                found["system"] = common.behind(found["system"], one.text)
            else:
                rest.append(one)
        found["messages"] = common.instructed(body["messages"], rest)
        return found

    def answer(self, text: str, told: Told) -> dict[str, Any]:
        return {
            "id": f"msg_{uuid.uuid4().hex}",
            "type": "message",
            "role": "assistant",
            "content": [{"type": "text", "text": text}],
            "model": told.model,
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {
                "input_tokens": prompt_tokens(told.body, told.counter),
                "output_tokens": told.counter.count(text),
            },
        }

    def stream(self, text: str, told: Told) -> list[Event]:
        message = self.answer(text, told)
        usage = message["usage"]
        begun = {**message, "content": [], "stop_reason": None, "usage": {**usage}}
        begun["usage"]["output_tokens"] = 0
        steps: list[dict[str, Any]] = [
            {"type": "message_start", "message": begun},
            {
                "type": "content_block_start",
                "index": 0,
                "content_block": {"type": "text", "text": ""},
            },
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "text_delta", "text": text},
            },
            {"type": "content_block_stop", "index": 0},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                "usage": usage,
            },
            {"type": "message_stop"},
        ]
        return [Event(step, step["type"]) for step in steps]

    def plain_prompt(self, body: Mapping[str, Any], text: str) -> dict[str, Any]:
        return {"messages": [{"role": "user", "content": text}]}

    def prompt_tokens(self, body: Mapping[str, Any], counter: Counter) -> int:
        return prompt_tokens(body, counter)

    def restated(self, value: dict[str, Any], said: Said, told: Told) -> dict[str, Any]:
        return restating.whole(value, said)

    def restreamed(self, events: Sequence[Event], said: Said, told: Told) -> list[Event]:
        return restating.stream(events, said)

    def reading(self, checks: Checks, told: Told) -> Reading:
        return MessagesReading(checks, told)

    def error(self, refused: Refused) -> dict[str, Any]:
        kind = _ERRORS.get(refused.status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": refused.message}}

    def broken(self, refused: Refused) -> list[Event]:
        return [Event(self.error(refused), "error")]


def prompt_tokens(body: Any, counter: Counter) -> int:
    """How many tokens a prompt has."""
    system = [{"role": "system", "content": body["system"]}] if body.get("system") else []
    messages = [*system, *body["messages"]]
    text = "\n".join(str(one.get("content") or "") for one in messages)
    simple = all(isinstance(one.get("content"), str) for one in messages)
    return counter.messages(messages, None, text) if simple else counter.count(text)


def _read_message(texts: Texts, message: Any, where: str) -> None:
    if not isinstance(message, dict) or set(message) - {"role", "content"}:
        raise Refused(f"{where}: must have 'role' and 'content' only", param="messages")
    role = message.get("role")
    if role not in ("user", "assistant", "system"):
        raise Refused(f"{where}.role: one of user, assistant, system", param="messages")
    for text, beside in content_texts(message.get("content"), PARTS, f"{where}.content"):
        texts.say(str(role), text or "")
        inner = beside.get("content") if isinstance(beside, dict) else None
        if inner is not None:
            for said, more in content_texts(inner, PARTS, f"{where}.content"):
                texts.say("tool", said or "")
                texts.note("tool", more)
            beside = {name: one for name, one in beside.items() if name != "content"}
        texts.note(str(role), beside)
