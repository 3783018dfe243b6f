import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.load import Client, Load, conversations
from guard.demo.servers import MODEL
from guard.errors import EngineError
from guard.models import resolve


def result(lengths: list[int], errors: list[str]) -> dict[str, Any]:
    """What vLLM's client gives."""
    return {
        "completed": sum(not error for error in errors),
        "request_throughput": 2.5,
        "median_ttft_ms": 120.0,
        "median_itl_ms": 30.0,
        "output_lens": lengths,
        "errors": errors,
    }


def test_figures_are_the_clients_own() -> None:
    found = Load.of(result([4, 4, 4], ["", "", ""]), 3, 4)
    assert found == Load({"throughput": 2.5, "ttft": 120.0, "itl": 30.0}, 3)


def test_an_answer_of_another_length_is_counted() -> None:
    assert Load.of(result([4, 3, 9], ["", "", ""]), 3, 4).short == 2


def test_what_was_not_answered_is_said_and_why() -> None:
    trace = "Traceback (most recent call last):\n  File …\nClientError: reset\n"
    found = Load.of(result([4, 0, 0], ["", "Service Unavailable", trace]), 3, 4)
    assert found.failures == ("Service Unavailable", "ClientError: reset")
    assert (found.answered, found.short) == (1, 0)


def test_a_prompt_that_was_never_asked_is_a_failure() -> None:
    """The client leaves prompts out that it finds too short or too long."""
    found = Load.of(result([4, 4], ["", ""]), 3, 4)
    assert len(found.failures) == 1 and found.answered == 2


def test_without_answers_there_are_no_figures() -> None:
    assert Load.of(result([0], ["Bad Request"]), 1, 4).figures == {}


def test_prompts_are_chats_that_the_client_reads() -> None:
    prompts = ["one", 'two "quoted"\n']
    read = json.loads(conversations(prompts))
    assert [chat["conversations"][0]["value"] for chat in read] == prompts
    assert all(len(chat["conversations"]) == 2 for chat in read)


class Streaming(http.server.BaseHTTPRequestHandler):
    """Answers a chat with as many tokens as asked for, or refuses to."""

    bodies: list[dict[str, Any]]

    def do_GET(self) -> None:
        self.send_error(404)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.bodies.append(body)
        if "overload" in body["messages"][0]["content"][0]["text"]:
            self.send_error(503)
            return
        tokens = body["max_completion_tokens"]
        chunks = [{"choices": [{"delta": {"content": "a"}}]}] * tokens
        usage = {"choices": [], "usage": {"completion_tokens": tokens, "prompt_tokens": 5}}
        self.send_response(200)
        self.end_headers()
        for event in [*chunks, usage]:
            self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    Streaming.bodies = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Streaming) as serving:
        threading.Thread(target=serving.serve_forever).start()
        yield serving
        serving.shutdown()


@pytest.mark.engine
def test_vllms_client_asks_each_prompt_once_greedily(
    server: http.server.ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client of the installed vLLM, against a server that is none."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    prompts = [f"This is question number {n}." for n in range(5)]
    url, model = f"http://127.0.0.1:{server.server_port}", str(resolve(MODEL))
    with Client() as client:
        found = client.load(url, "served", model, prompts, 2, 4)
        failed = client.load(url, "served", model, [*prompts, "Please overload, will you?"], 1, 4)
        with pytest.raises(EngineError, match="bench client"):
            client.load(url, "served", "/no/such/model", prompts, 1, 4)
    assert (found.answered, found.short, found.failures) == (5, 0, ())
    assert found.figures.keys() == {"throughput", "ttft", "itl"}
    assert (failed.answered, len(failed.failures)) == (5, 1)
    asked = [body["messages"][0]["content"][0]["text"] for body in Streaming.bodies[:5]]
    assert sorted(asked) == prompts
    for body in Streaming.bodies:
        assert body["model"] == "served" and body["stream"] and body["temperature"] == 0
        assert body["max_completion_tokens"] == body["min_tokens"] == 4
