"""What a client's network sees of a leak: every byte that comes is kept, and read in every prefix.

The prompts name nothing; the model's answers do, and are rolled back. Each test sees in the log
that something was hit: an answer that tells nothing would show nothing.
"""

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.engine.conftest import DATA
from tests.engine.endpoints import chat_body, completion_body
from tests.engine.servers import MODEL, Server, serving

pytestmark = pytest.mark.engine

ASKED = "Who developed the theory of relativity?"
BEGUN = "The theory of relativity was developed by the physicist"
NAME = "einstein"
POLICY = """\
version: 1
model: builtin:smollm2
defaults:
  detect: off
targets:
  - id: target-one
    names: [Albert Einstein, Einstein]
    retain: shakespeare/retain.jsonl
    output: {check: exact, on_hit: rollback, times: 20, then: filter}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("wire")
    (folder / "shakespeare").symlink_to(DATA / "shakespeare")
    with serving(folder, POLICY) as started:
        yield started


def hits(server: Server) -> int:
    return server.text().count("check exact hit target target-one")


@contextlib.contextmanager
def hit(server: Server) -> Iterator[None]:
    """Something must be hit meanwhile."""
    before = hits(server)
    yield
    assert hits(server) > before


def recorded(server: Server, path: str, body: dict[str, Any]) -> list[bytes]:
    """Asks, and keeps every piece of the answer's body as it came from the network."""
    with server.client() as client, client.stream("POST", path, json=body) as response:
        pieces = list(response.iter_raw())
    assert response.status_code == 200
    return pieces


def events(wire: bytes) -> list[dict[str, Any]]:
    """The events that have come whole."""
    lines = wire.decode("utf-8", "ignore").split("\n\n")[:-1]
    data = [line.rpartition("data: ")[2] for line in lines]
    return [json.loads(one) for one in data if one != "[DONE]"]


def texts(value: Any, place: str = "", into: dict[str, str] | None = None) -> dict[str, str]:
    """All texts anywhere in it, those of one place joined; bytes as the text that they spell."""
    found = {} if into is None else into
    if isinstance(value, dict):
        number = value.get("index", "")
        for key, held in value.items():
            texts(held, f"{place}.{key}{number}", found)
    elif isinstance(value, list):
        for held in value:
            texts(held, place, found)
    elif isinstance(value, str) or ".bytes" in place:
        found[place] = found.get(place, "") + (chr(value) if isinstance(value, int) else str(value))
    return found


def leaks(wire: bytes, told: Any) -> list[str]:
    """Where the name stands: in the bytes, or in a text that their pieces make."""
    found = [place for place, text in texts(told).items() if NAME in text.lower()]
    return found + ["bytes"] * (NAME in wire.decode("utf-8", "ignore").lower())


Texts = dict[int, str]


@dataclass(frozen=True)
class Route:
    """A way to ask.

    Attributes:
        path: Where.
        body: With what.
        piece: The number of the answer that an event adds to, and what; None for neither.
        whole: The texts of an answer that comes at once.
    """

    path: str
    body: dict[str, Any]
    piece: Callable[[dict[str, Any]], tuple[int, str] | None]
    whole: Callable[[dict[str, Any]], Texts]


def _choice(event: dict[str, Any]) -> tuple[int, str] | None:
    if not event["choices"]:
        return None
    (choice,) = event["choices"]
    return choice["index"], choice["text"] if "text" in choice else choice["delta"]["content"] or ""


def _choices(answer: dict[str, Any]) -> Texts:
    return {
        one["index"]: one["text"] if "text" in one else one["message"]["content"]
        for one in answer["choices"]
    }


def _chat(**more: Any) -> Route:
    return Route("/v1/chat/completions", chat_body(ASKED, **more), _choice, _choices)


def _completion(**more: Any) -> Route:
    return Route("/v1/completions", completion_body(BEGUN, **more), _choice, _choices)


_SEEDED = {"n": 2, "temperature": 0.7, "seed": 5}
ROUTES = {
    "chat": _chat(),
    "chat, two answers": _chat(**_SEEDED),
    "chat, log-probabilities": _chat(logprobs=True),
    "chat, alternatives": _chat(logprobs=True, top_logprobs=5),
    "completion": _completion(),
    "completion, two answers": _completion(**_SEEDED),
    "completion, log-probabilities": _completion(logprobs=5),
    "responses": Route(
        "/v1/responses",
        {"model": MODEL, "input": ASKED, "max_output_tokens": 40, "temperature": 0},
        lambda event: (0, event["delta"]) if event["type"].endswith("text.delta") else None,
        lambda answer: {0: answer["output"][0]["content"][0]["text"]},
    ),
    "messages": Route(
        "/v1/messages",
        chat_body(ASKED),
        lambda event: (0, event["delta"]["text"]) if "block_delta" in event["type"] else None,
        lambda answer: {0: answer["content"][0]["text"]},
    ),
}


@pytest.mark.parametrize("name", ROUTES)
def test_no_byte_of_a_leak_is_sent_and_none_is_taken_back(server: Server, name: str) -> None:
    route = ROUTES[name]
    with hit(server):
        answer = b"".join(recorded(server, route.path, route.body))
    whole = route.whole(json.loads(answer))
    assert leaks(answer, json.loads(answer)) == []
    with hit(server):
        pieces = recorded(server, route.path, {**route.body, "stream": True})
    assert len(pieces) > 4  # as it is written
    for count in range(1, len(pieces) + 1):
        wire = b"".join(pieces[:count])
        told = events(wire)
        assert leaks(wire, told) == []
        said = dict.fromkeys(whole, "")
        for number, text in filter(None, map(route.piece, told)):
            said[number] += text
        assert all(whole[number].startswith(text) for number, text in said.items())
    assert said == whole and all(len(text) > 10 for text in whole.values())


def _noted(name: str, century: str) -> dict[str, str]:
    said = json.dumps({"name": "note", "arguments": {"full_name": name, "century": century}})
    return {"role": "assistant", "content": f"<tool_call>\n{said}\n</tool_call>"}


_PROPERTIES = {
    "full_name": {"type": "string", "maxLength": 60},
    "century": {"type": "string", "enum": ["17th", "20th"]},
}
_FUNCTION = {
    "name": "note",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": _PROPERTIES,
        "required": list(_PROPERTIES),
        "additionalProperties": False,
    },
}
_TOOLS: dict[str, Any] = {
    "tools": [{"type": "function", "function": _FUNCTION}],
    "messages": [
        {"role": "user", "content": "Who composed The Magic Flute?"},
        _noted("Wolfgang Amadeus Mozart", "17th"),
        {"role": "user", "content": "Who painted Guernica?"},
        _noted("Pablo Picasso", "20th"),
        {"role": "user", "content": "Which physicist is famous for E = mc2?"},
    ],
    "max_tokens": 120,
}


@pytest.mark.parametrize("choice", ["auto", "required", "named"])
def test_the_arguments_of_a_tool_are_held_and_stay_json(server: Server, choice: str) -> None:
    named = {"type": "function", "function": {"name": "note"}}
    body = chat_body("", **_TOOLS, tool_choice=named if choice == "named" else choice)
    with hit(server):
        answer = b"".join(recorded(server, "/v1/chat/completions", body))
    assert leaks(answer, json.loads(answer)) == []
    (call,) = json.loads(answer)["choices"][0]["message"]["tool_calls"]
    held = json.loads(call["function"]["arguments"])
    assert set(held) == set(_PROPERTIES) and held["full_name"] and held["century"][:2].isdigit()
    with hit(server):
        pieces = recorded(server, "/v1/chat/completions", {**body, "stream": True})
    for count in range(1, len(pieces) + 1):
        wire = b"".join(pieces[:count])
        assert leaks(wire, events(wire)) == []
    deltas = [choice["delta"] for one in events(b"".join(pieces)) for choice in one["choices"]]
    calls = [call["function"] for delta in deltas for call in delta.get("tool_calls") or ()]
    assert json.loads("".join(call.get("arguments") or "" for call in calls)) == held
