import asyncio
import functools
import json
from collections.abc import Callable

import httpx
import pytest

from benchmarks import load as module
from benchmarks.load import Load, load
from tests.benchmarks.turns import load_of

Handler = Callable[[httpx.Request], httpx.Response]


def stream(tokens: int, *more: object) -> httpx.Response:
    chunk = {"choices": [{"delta": {"content": "a"}}]}
    usage = {"choices": [], "usage": {"completion_tokens": tokens}}
    events = [json.dumps(event) for event in [*[chunk] * tokens, usage, *more]]
    return httpx.Response(200, text="".join(f"data: {event}\n\n" for event in [*events, "[DONE]"]))


def asked(monkeypatch: pytest.MonkeyPatch, handler: Handler, prompts: list[str]) -> Load:
    transport = httpx.MockTransport(handler)
    client = functools.partial(httpx.AsyncClient, transport=transport)
    monkeypatch.setattr(module.httpx, "AsyncClient", client)
    return asyncio.run(load("http://server", "m", prompts, 2, 4))


def test_every_prompt_is_asked_once_greedily(monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        return stream(4)

    done = asked(monkeypatch, answer, ["a", "b", "c"])
    assert done.failures == [] and [one.tokens for one in done.answers] == [4, 4, 4]
    assert all(0 < one.first <= one.last <= done.seconds for one in done.answers)
    assert sorted(body["messages"][0]["content"] for body in bodies) == ["a", "b", "c"]
    for body in bodies:
        assert body["ignore_eos"] and body["stream"]
        assert body["max_tokens"] == 4 and body["temperature"] == 0


def out_of_reach(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


@pytest.mark.parametrize(
    ("handler", "why"),
    [
        (lambda _: httpx.Response(503, text="not judged"), "HTTP 503: not judged"),
        (lambda _: stream(3), "has 3 tokens, not 4"),
        (lambda _: stream(4, {"error": {"message": "lost"}}), "lost"),
        (lambda _: httpx.Response(200, text="data: [DONE]\n\n"), "has 0 tokens"),
        (lambda _: httpx.Response(200, text="data: {\n\n"), "JSONDecodeError"),
        (out_of_reach, "ConnectError"),
    ],
)
def test_what_is_not_complete_counts_as_failed(
    monkeypatch: pytest.MonkeyPatch, handler: Handler, why: str
) -> None:
    done = asked(monkeypatch, handler, ["a", "b", "c"])
    assert done.answers == [] and len(done.failures) == 3
    assert why in done.failures[0]


def test_figures() -> None:
    found = load_of(0.5, 0.05, tokens=11, answers=3).figures
    assert found == pytest.approx({"throughput": 11.0, "ttft": 500.0, "itl": 50.0})
