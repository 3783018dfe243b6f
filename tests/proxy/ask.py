"""How the same is asked and read in each schema."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from tests.proxy.upstream import MODEL


@dataclass(frozen=True)
class Way:
    """A schema.

    Attributes:
        path: Its route.
        body: The body that asks a question.
        said: What a whole reply says.
        delta: What an event says.
        asked: What the server behind was asked, as one text.
        reason: Why a whole reply ended.
    """

    path: str
    body: Callable[[str], dict[str, Any]]
    said: Callable[[Any], str]
    delta: Callable[[Any], str]
    reason: Callable[[Any], Any]


WAYS = {
    "chat": Way(
        "/v1/chat/completions",
        lambda text: {"model": MODEL, "messages": [{"role": "user", "content": text}]},
        lambda reply: reply["choices"][0]["message"]["content"],
        lambda event: "".join(c["delta"].get("content") or "" for c in event.get("choices", [])),
        lambda reply: reply["choices"][0]["finish_reason"],
    ),
    "completions": Way(
        "/v1/completions",
        lambda text: {"model": MODEL, "prompt": text},
        lambda reply: reply["choices"][0]["text"],
        lambda event: "".join(c["text"] for c in event.get("choices", [])),
        lambda reply: reply["choices"][0]["finish_reason"],
    ),
    "responses": Way(
        "/v1/responses",
        lambda text: {"model": MODEL, "input": text},
        lambda reply: reply["output"][0]["content"][0]["text"],
        lambda event: event["delta"] if event["type"] == "response.output_text.delta" else "",
        lambda reply: reply["status"],
    ),
    "messages": Way(
        "/v1/messages",
        lambda text: {
            "model": MODEL, "max_tokens": 50, "messages": [{"role": "user", "content": text}]
        },
        lambda reply: "".join(block["text"] for block in reply["content"]),
        lambda event: event.get("delta", {}).get("text", ""),
        lambda reply: reply["stop_reason"],
    ),
}  # fmt: skip


def events(response: httpx.Response) -> list[Any]:
    """The events of a streamed reply."""
    found = []
    for block in response.text.split("\n\n"):
        for line in block.splitlines():
            if line.startswith("data: ") and line != "data: [DONE]":
                found.append(json.loads(line[6:]))
    return found


async def answer(
    client: httpx.AsyncClient, way: Way, text: str, *, stream: bool, **more: Any
) -> str:
    """What a client reads as the answer to a question."""
    body = {**way.body(text), **more, **({"stream": True} if stream else {})}
    response = await client.post(way.path, json=body)
    assert response.status_code == 200, response.text
    if not stream:
        return way.said(response.json())
    return "".join(way.delta(event) for event in events(response))
