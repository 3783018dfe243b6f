"""`/v1/chat/completions`."""

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from guard.proxy.checks import Checks
from guard.proxy.counting import Counter
from guard.proxy.enforcement import ADAPTER, INSTRUCT, PENALIZE, REFUSE, Edit
from guard.proxy.fields import Fields, answers, names
from guard.proxy.logprobs import chat_placeholders
from guard.proxy.message import Refused
from guard.proxy.said import Said
from guard.proxy.schemas import common, restating
from guard.proxy.schemas.base import Schema, Told
from guard.proxy.schemas.chat_answer import CONTENT, ChatReading, prompt_tokens
from guard.proxy.schemas.choices import used
from guard.proxy.sse import DONE, Event
from guard.proxy.texts import Asked, Texts, content_texts

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
PARTS = {
    "text": "text",
    "input_text": "text",
    "output_text": "text",
    "refusal": "refusal",
    "thinking": "thinking",
    "tool_reference": "name",
}
_BESIDE = names(  # of a message, beside role and content: all texts in them are read
    """name tool_calls tool_call_id refusal reasoning reasoning_content function_call task
    tools annotations"""
)


class Chat(Schema):
    """Chat completions."""

    path = "/v1/chat/completions"
    carries: ClassVar[frozenset[str]] = frozenset({REFUSE, INSTRUCT, PENALIZE, ADAPTER})
    prompt, limit, steers = ("messages",), "max_tokens", True
    fields: ClassVar[Fields] = Fields(
        read=common.STEERING
        | names(
            """messages tools tool_choice documents prediction reasoning_effort
                verbosity chat_template_kwargs"""
        ),
        plain=common.SAMPLING
        | {"logprobs", "top_logprobs", "add_generation_prompt", "continue_final_message"},
        labels=common.LABELS,
        dropped=common.DROPPED,
        refused={
            **common.REFUSED,
            "functions": "this server takes 'tools'; describe your functions there",
            "function_call": "this server takes 'tool_choice'",
        },
    )

    def read(self, body: dict[str, Any], counter: Counter) -> Asked:
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            raise Refused("messages: give a list of messages", param="messages")
        texts = Texts()
        for name in ("tools", "tool_choice", "documents", "reasoning_effort", "verbosity"):
            texts.note("tools", body.get(name))
        common.read_kwargs(texts, body)
        for number, message in enumerate(messages):
            read_message(texts, message, f"messages[{number}]")
        texts.steer(body.get("prediction"))
        common.read_steering(texts, body, counter)
        logprobs = bool(body.get("logprobs")) or body.get("top_logprobs") not in (None, 0, False)
        return Asked(
            texts.view(), tuple(texts.steering), body.get("stream") is True, answers(body), logprobs
        )

    def edited(self, body: dict[str, Any], edit: Edit, counter: Counter) -> dict[str, Any]:
        found = common.with_bad_words(body, edit, counter)
        messages = common.instructed(body["messages"], edit.instructions)
        return {**found, "messages": messages}

    def answer(self, text: str, told: Told) -> dict[str, Any]:
        count = answers(told.body)
        completion = told.counter.count(text) * count
        choice = {
            "message": {"role": "assistant", "content": text},
            "logprobs": chat_placeholders(text) if told.logprobs else None,
            "finish_reason": "stop",
        }
        return {
            **_frame(told, "chat.completion"),
            "choices": [{"index": number, **choice} for number in range(count)],
            "usage": used(prompt_tokens(told.body, told.counter), completion),
        }

    def stream(self, text: str, told: Told) -> list[Event]:
        frame, count = _frame(told, "chat.completion.chunk"), answers(told.body)
        steps: list[tuple[dict[str, Any], Any, str | None]] = [
            ({"role": "assistant", "content": ""}, None, None),
            ({"content": text}, chat_placeholders(text) if told.logprobs else None, None),
            ({}, None, "stop"),
        ]
        events = [
            Event({**frame, "choices": [
                {"index": n, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
            ]})
            for delta, logprobs, reason in steps
            for n in range(count)
        ]  # fmt: skip
        if (told.body.get("stream_options") or {}).get("include_usage"):
            prompt = prompt_tokens(told.body, told.counter)
            usage = used(prompt, told.counter.count(text) * count)
            events.append(Event({**frame, "choices": [], "usage": usage}))
        return [*events, Event(DONE)]

    def plain_prompt(self, body: Mapping[str, Any], text: str) -> dict[str, Any]:
        return {"messages": [{"role": "user", "content": text}]}

    def prompt_tokens(self, body: Mapping[str, Any], counter: Counter) -> int:
        return prompt_tokens(body, counter)

    def restated(self, value: dict[str, Any], said: Said, told: Told) -> dict[str, Any]:
        return restating.whole(value, said, "message")

    def restreamed(self, events: Sequence[Event], said: Said, told: Told) -> list[Event]:
        return restating.stream(events, said, "delta")

    def goes_on(self, body: Mapping[str, Any]) -> str | None:
        asked = body["messages"][-1].get("role") == "user"
        return CONTENT if asked and not body.get("tools") and common.can_go_on(body) else None

    def continued(
        self, body: dict[str, Any], left: str, phrases: Sequence[str], counter: Counter
    ) -> dict[str, Any]:
        found = common.going_on(body, left, phrases, counter)
        if not left:
            return found
        messages = [*body["messages"], {"role": "assistant", "content": left}]
        more = {"continue_final_message": True, "add_generation_prompt": False}
        return {**found, "messages": messages, **more}

    def reading(self, checks: Checks, told: Told) -> ChatReading:
        return ChatReading(checks, told)


def read_message(texts: Texts, message: Any, where: str) -> None:
    """Adds what a chat message says.

    Raises:
        Refused: It holds something that cannot be read.
    """
    if not isinstance(message, dict):
        raise Refused(f"{where}: must be an object with 'role' and 'content'", param="messages")
    role = message.get("role")
    if role not in ROLES:
        raise Refused(f"{where}.role: one of {', '.join(ROLES)}", param="messages")
    role = "system" if role == "developer" else str(role)
    for text, beside in content_texts(message.get("content"), PARTS, f"{where}.content"):
        texts.say(role, text or "")
        texts.note(role, beside)
    for name, value in message.items():
        if name in ("role", "content") or value is None:
            continue
        if name in _BESIDE:
            texts.note(role, value)
        else:
            raise Refused(f"{where}.{name[:64]}: cannot be sent to this server", param="messages")


def _frame(told: Told, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": kind,
        "created": int(time.time()),
        "model": told.model,
    }
