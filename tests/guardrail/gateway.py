"""LiteLLM's side of its Generic Guardrail API, as its releases of 2026 have it.

What a call holds, which header carries the key, where the route is, and what becomes of an answer:
written by hand, from its documentation and its client. `test_live_litellm` has LiteLLM itself.
"""

from dataclasses import dataclass, field
from typing import Any

import httpx

KEY = "k" * 40
PATH = "/beta/litellm_basic_guardrail_api"


class Stopped(Exception):
    """LiteLLM answers its client with an error."""


@dataclass
class Gateway:
    """A LiteLLM proxy with this guardrail as ``pre_call`` and ``post_call``.

    Attributes:
        client: Of the guardrail.
        headers: What its configuration sends.
        sent: The calls that it made.
        told: The answers that it got.
    """

    client: httpx.AsyncClient
    headers: dict[str, str] = field(default_factory=lambda: {"x-api-key": KEY})
    sent: list[dict[str, Any]] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)

    async def pre_call(
        self, messages: list[dict[str, Any]], call: str = "call-1", **more: Any
    ) -> list[str]:
        """Asks about a chat; returns the texts that go on."""
        texts, images, tool_calls = [], [], []
        for message in messages:
            content = message.get("content")
            if isinstance(content, str):
                texts.append(content)
            for part in content if isinstance(content, list) else ():
                if part.get("text") is not None:
                    texts.append(part["text"])
                if part.get("type") == "image_url":
                    images.append(part["image_url"]["url"])
            tool_calls += message.get("tool_calls") or []
        more = {"structured_messages": messages, "images": images or None, **more}
        texts = more.pop("texts", texts)
        return await self.ask("request", texts, call, tool_calls=tool_calls or None, **more)

    async def post_call(self, *texts: str, call: str = "call-1", **more: Any) -> list[str]:
        """Asks about answers; returns those that go out."""
        return await self.ask("response", list(texts), call, **more)

    async def ask(self, kind: str, texts: list[str], call: str | None, **more: Any) -> list[str]:
        body: dict[str, Any] = {
            "input_type": kind,
            "litellm_call_id": call,
            "litellm_trace_id": "trace-1",
            "structured_messages": None,
            "images": None,
            "tools": None,
            "texts": texts,
            "request_data": {"user_api_key_hash": "88dc28d0f030c55e", "user_api_key_team_id": None},
            "request_headers": {"user-agent": "OpenAI/Python", "authorization": "[present]"},
            "litellm_version": "1.90.0",
            "additional_provider_specific_params": {},
            "tool_calls": None,
            "model": "gpt-4o",
            **more,
        }
        self.sent.append(body)
        response = await self.client.post(PATH, json=body, headers=self.headers)
        if response.status_code != 200:
            raise Stopped(f"HTTP {response.status_code}")
        told = response.json()
        self.told.append(told)
        if told.get("action", "NONE") == "BLOCKED":
            raise Stopped(told.get("blocked_reason") or "Content violates policy")
        kept: list[str] = told.get("texts") or texts
        if len(kept) != len(texts):
            raise Stopped("it cannot be applied")
        return kept


def user(text: Any) -> dict[str, Any]:
    return {"role": "user", "content": text}
