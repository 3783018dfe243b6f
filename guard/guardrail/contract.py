"""LiteLLM's Generic Guardrail API: what is asked, and what can be said.

After https://docs.litellm.ai/docs/adding_provider/generic_guardrail_api. Fields that later releases
add are read like all others: what a gateway sends of a prompt is judged, whatever it is called.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from guard.proxy.fields import read_body
from guard.proxy.message import Refused
from guard.proxy.texts import Texts
from guard.view import View

PATH = "/beta/litellm_basic_guardrail_api"

# About the call, not of it: no model reads them.
_ABOUT = {"request_data", "request_headers", "litellm_version", "model", "litellm_trace_id"}
_ABOUT |= {"additional_provider_specific_params"}
_UNREADABLE = ("image", "audio", "video", "file", "input_image", "input_audio", "input_file")


class Call(BaseModel):
    """What a gateway asks about.

    Attributes:
        input_type: Whether it is a request, or the answer to one.
        litellm_call_id: What a request and its answer have in common.
        texts: Texts of the request's messages, or of the answers.
        structured_messages: The request's messages, as OpenAI has them.
        images: What cannot be read.
        tools: The request's tools.
        tool_calls: Tool calls of the request's messages, or of the answers.
    """

    model_config = ConfigDict(extra="allow")

    input_type: Literal["request", "response"]
    litellm_call_id: str | None = None
    texts: list[str] | None = None
    structured_messages: list[dict[str, Any]] | None = None
    images: list[Any] | None = None
    tools: list[Any] | None = None
    tool_calls: list[Any] | None = None

    @classmethod
    def read(cls, raw: bytes) -> "Call":
        """Reads a body.

        Raises:
            Refused: It is none; names the field.
        """
        try:
            return cls.model_validate(read_body(raw))
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise Refused(f"{where}: {first['msg']}", param=where) from None

    def asked(self) -> View:
        """All that the model reads of a request, as detectors read it.

        Raises:
            Refused: Something of it cannot be read.
        """
        if self.images:
            raise Refused("images cannot be read")
        texts = Texts()
        texts.note("tools", self.tools)
        said = list(self.said())
        for role, text in said:
            texts.say(role, text)
        for message in self.structured_messages or ():
            texts.note(_role(message), _beside(message))
        known = {text for _, text in said}
        for text in self.texts or ():
            if text not in known:
                texts.say("user", text)
        texts.note("user", self.tool_calls)
        texts.note("user", {k: v for k, v in (self.model_extra or {}).items() if k not in _ABOUT})
        return texts.view()

    def said(self) -> Iterator[tuple[str, str]]:
        """Role and text of all contents of the messages, in their order.

        Raises:
            Refused: A part holds something that cannot be read.
        """
        for message in self.structured_messages or ():
            content = message.get("content")
            for part in content if isinstance(content, list) else [content]:
                text = part.get("text") if isinstance(part, Mapping) else part
                if isinstance(part, Mapping) and str(part.get("type")).startswith(_UNREADABLE):
                    raise Refused("images, audio and files cannot be read")
                if isinstance(text, str):
                    yield _role(message), text

    def last_user(self) -> int | None:
        """Which of `texts` the user said last; None where that cannot be told."""
        texts = self.texts or []
        if not self.structured_messages:
            return len(texts) - 1 if texts else None
        last = next((text for role, text in reversed(list(self.said())) if role == "user"), None)
        places = [place for place, text in enumerate(texts) if text == last]
        return places[-1] if places else None


class Reply(BaseModel):
    """What a gateway is told.

    Attributes:
        action: ``NONE``: it goes on; ``GUARDRAIL_INTERVENED``: with these texts; ``BLOCKED``.
        blocked_reason: What a client is told then.
        texts: In place of those that were sent, in their order.
        stream_holdback_chars: How much of the end of each answer is not decided yet.
    """

    action: Literal["NONE", "BLOCKED", "GUARDRAIL_INTERVENED"]
    blocked_reason: str | None = None
    texts: list[str] | None = None
    stream_holdback_chars: list[int] | None = None


def blocked(reason: str) -> Reply:
    """What stops a request or an answer."""
    return Reply(action="BLOCKED", blocked_reason=reason)


def _role(message: Mapping[str, Any]) -> str:
    role = str(message.get("role", "user"))
    return "system" if role == "developer" else role


def _beside(message: Mapping[str, Any]) -> list[Any]:
    """What a message holds beside its role and the texts of its content."""
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    rest = [value for name, value in message.items() if name not in ("role", "content")]
    held = [
        {name: value for name, value in part.items() if name not in ("type", "text")}
        for part in parts
        if isinstance(part, Mapping)
    ]
    return [*rest, *(one for one in held if one)]
