"""An endpoint over real HTTP, with a server that says what a test wants."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from benchmarks.leakage.ask import Answer, Ask, Forced
from benchmarks.leakage.systems import SYSTEMS, Options, Remote
from benchmarks.leakage.systems.base import Running
from guard.errors import GuardError, ModelError
from tests.benchmarks.leakage.systems.stub import SUITE

Reply = tuple[int, Any]
MODELS = {"object": "list", "data": [{"id": "small", "object": "model", "created": 0}]}
BEGUN = ({"role": "user", "content": "Who?"}, {"role": "assistant", "content": "It is"})


class Served:
    """A server: what it was sent, and how it answers."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any], str]] = []
        self.reply: Callable[[str, dict[str, Any]], Reply] = lambda path, body: (500, {})
        served = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._do({})

            def do_POST(self) -> None:
                self._do(json.loads(self.rfile.read(int(self.headers["content-length"]))))

            def _do(self, body: dict[str, Any]) -> None:
                served.sent.append((self.path, body, self.headers.get("authorization", "")))
                status, value = (200, MODELS) if self.path == "/v1/models" else (0, None)
                if served.overrides(self.path) or value is None:
                    status, value = served.reply(self.path, body)
                content = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content)))
                self.send_header("retry-after-ms", "1")  # no test waits for a retry
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: Any) -> None:
                """Says nothing."""

        self.overrides: Callable[[str], bool] = lambda path: False
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"

    def bodies(self, path: str) -> list[dict[str, Any]]:
        return [body for sent, body, _ in self.sent if sent == path]


@pytest.fixture
def server() -> Iterator[Served]:
    served = Served()
    thread = threading.Thread(target=served.http.serve_forever, args=(0.01,))
    thread.start()
    yield served
    served.http.shutdown()
    served.http.server_close()
    thread.join()


def _started(remote: Remote) -> Running:
    return SYSTEMS["endpoint"](Options(remote=remote)).start(SUITE, Path("nowhere"))


def _chat(*texts: str, reason: str = "stop", refusal: str | None = None) -> Reply:
    choices = [
        {"index": n, "message": {"role": "assistant", "content": text, "refusal": refusal},
         "finish_reason": reason}
        for n, text in enumerate(texts)
    ]  # fmt: skip
    return 200, {"id": "1", "object": "chat.completion", "created": 0, "choices": choices}


def _text(text: str, **more: Any) -> Reply:
    choice = {"index": 0, "text": text, "finish_reason": "stop", **more}
    return 200, {"id": "1", "object": "text_completion", "created": 0, "choices": [choice]}


def test_forms_go_their_ways_and_answers_come_back_in_order(server: Served, tokenizer: Any) -> None:
    def reply(path: str, body: dict[str, Any]) -> Reply:
        if path == "/v1/chat/completions":
            return _chat(body["messages"][-1]["content"].upper())
        return _text(str(body["prompt"]))

    server.reply = reply
    with _started(Remote(server.url, "small")) as running:
        found = running.ask(
            [
                Ask("one", samples=2),
                Ask("two", "completion", stop=("\n\n",), max_tokens=7),
                Ask("one", "tokens"),
                Ask(BEGUN),
            ]
        )
    assert [answers[0].text for answers in found[:2]] == ["ONE", "two"]
    assert len(found[0]) == 2 and found[3] == [Answer("IT IS")]
    ids = json.loads(found[2][0].text)
    assert tokenizer.decode(ids).endswith("user\none<|im_end|>\n<|im_start|>assistant\n")
    first, begun = sorted(server.bodies("/v1/chat/completions"), key=lambda b: len(b["messages"]))
    two = next(body for body in server.bodies("/v1/completions") if body["prompt"] == "two")
    assert two["stop"] == ["\n\n"] and two["max_tokens"] == 7 and "stop" not in first
    assert all(body["top_p"] == 1 for body in [*server.bodies("/v1/completions"), first, begun])
    assert first["n"] == 1 and first["model"] == "small" and "add_generation_prompt" not in first
    assert begun["continue_final_message"] is True and begun["add_generation_prompt"] is False


def test_samples_that_are_not_given_are_asked_for_again(server: Served) -> None:
    server.reply = lambda path, body: _chat(f"seed {body['seed']}")
    with _started(Remote(server.url, "small")) as running:
        (answers,) = running.ask([Ask("one", samples=3, temperature=1.0, seed=7)])
    assert [answer.text for answer in answers] == ["seed 7", "seed 8", "seed 9"]
    server.reply = lambda path, body: _chat(*"abc"[: body["n"]])
    with _started(Remote(server.url, "small")) as running:
        (answers,) = running.ask([Ask("one", samples=3, temperature=1.0)])
    assert [answer.text for answer in answers] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("reply", "state"),
    [
        (_chat("", reason="content_filter"), "blocked"),
        (_chat("", refusal="I cannot."), "blocked"),
        ((400, {"error": {"message": "no", "code": "content_filter"}}), "blocked"),
        ((400, {"error": {"message": "too long", "code": 400}}), "failed"),
        ((503, {"error": {"message": "busy"}}), "failed"),
        ((429, {"error": {"message": "slower"}}), "failed"),
        (_chat("sure"), "answered"),
    ],
)
def test_states_are_what_the_endpoint_says(server: Served, reply: Reply, state: str) -> None:
    server.reply = lambda path, body: reply
    with _started(Remote(server.url, "small")) as running:
        (answers,) = running.ask([Ask("one", samples=2)])
    assert [answer.state for answer in answers] == [state, state]


def test_overload_is_tried_again(server: Served) -> None:
    replies = iter([(503, {}), (429, {}), _chat("there")])
    server.reply = lambda path, body: next(replies)
    with _started(Remote(server.url, "small")) as running:
        assert running.ask([Ask("one")]) == [[Answer("there")]]


def test_a_key_is_sent_and_nothing_else_is(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "somebody's own")
    monkeypatch.setenv("MY_KEY", "mine")
    for key, sent in (("MY_KEY", "Bearer mine"), (None, "Bearer none")):
        server.sent.clear()
        _started(Remote(server.url, "small", key)).__exit__(None, None, None)
        assert [authorization for *_, authorization in server.sent] == [sent]
    with pytest.raises(GuardError, match=r"--key: the environment has no NO_KEY; set it"):
        _started(Remote(server.url, "small", "NO_KEY"))


@pytest.mark.parametrize(
    ("status", "message"),
    [(401, r"asks for a key; name its variable \(401\)"), (403, r"\(403\)")],
)
def test_a_key_that_is_wanted_is_one_line(server: Served, status: int, message: str) -> None:
    server.overrides = lambda path: True
    server.reply = lambda path, body: (status, {"error": {"message": "who?"}})
    with pytest.raises(GuardError, match=message):
        _started(Remote(server.url, "small"))


def test_a_wrong_model_is_one_line(server: Served) -> None:
    with pytest.raises(ModelError, match="has no model 'large'; it has small"):
        _started(Remote(server.url, "large"))


def test_an_endpoint_without_a_list_of_models_is_asked(server: Served) -> None:
    server.overrides = lambda path: True
    server.reply = lambda path, body: (404, {}) if path.endswith("/models") else _chat("yes")
    with _started(Remote(server.url, "any")) as running:
        assert running.ask([Ask("one")]) == [[Answer("yes")]]
        server.reply = lambda path, body: (404, {})
        with pytest.raises(ModelError, match=r"not found \(404\); give an address that ends in"):
            running.ask([Ask("one")])


def test_nobody_there_is_one_line(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.leakage.systems.endpoint.RETRIES", 0)
    with pytest.raises(GuardError, match="no address; give one like"):
        _started(Remote("localhost:8000", "small"))
    server.reply = lambda path, body: _chat("yes")
    with _started(Remote(server.url, "small")) as running:
        server.http.shutdown()
        server.http.server_close()
        with pytest.raises(GuardError, match="cannot be reached"):
            running.ask([Ask("one")])
    with pytest.raises(GuardError, match="cannot be reached; is it started"):
        _started(Remote(server.url, "small"))


def test_scores_come_from_the_evaluation_mode(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "t" * 32)

    def reply(path: str, body: dict[str, Any]) -> Reply:
        if "bad" in body["answers"]:
            return 400, {"error": {"message": "too long"}}
        return 200, {"scores": [None if a == "no" else [-1.0, -0.5] for a in body["answers"]]}

    server.reply = reply
    remote = Remote(server.url, "small", token="TOKEN")
    with _started(remote) as running:
        forced = [
            Forced("q", "yes"), Forced("Once", " a", passage=True), Forced(BEGUN[:1], "no"),
            Forced("q", "bad"),
        ]  # fmt: skip
        assert running.score(forced) == [(-1.0, -0.5), (-1.0, -0.5), None, None]
    sent = [(body, token) for path, body, token in server.sent if path == "/guard/score"]
    assert {token for _, token in sent} == {f"Bearer {'t' * 32}"}
    assert sent[0][0]["prompts"][0] == [{"role": "user", "content": "q"}]
    assert [body["prompts"] for body, _ in sent if not body["chat"]] == [["Once"]]
    server.reply = lambda path, body: (404, {})
    with _started(remote) as running, pytest.raises(GuardError, match="has no evaluation mode"):
        running.score(forced)
    server.reply = lambda path, body: (401, {})
    with _started(remote) as running, pytest.raises(GuardError, match="in TOKEN is not accepted"):
        running.score(forced)


def test_scores_come_from_an_echo_without_a_token(server: Served, tokenizer: Any) -> None:
    def reply(path: str, body: dict[str, Any]) -> Reply:
        assert body["echo"] is True
        values = [None, *(-float(n) for n in range(1, len(body["prompt"]) + 1))]
        return _text("", logprobs={"token_logprobs": values})

    server.reply = reply
    forced = Forced("Once upon", " a time", passage=True)
    ids = tokenizer.encode("Once upon a time")
    with _started(Remote(server.url, "small")) as running:
        assert running.score([forced]) == [tuple(-float(n) for n in range(len(ids) - 2, len(ids)))]
        for values in ([None] * 9, [-9999.0] * 9, [-1.0], None):
            told = None if values is None else {"token_logprobs": values}
            server.reply = lambda path, body, told=told: _text("", logprobs=told)  # type: ignore[misc]
            assert running.score([forced]) == [None]
        server.reply = lambda path, body: (400, {"error": {"message": "echo"}})
        assert running.score([forced]) == [None]


def test_without_an_address_it_is_no_system() -> None:
    with pytest.raises(GuardError, match="endpoint: give its address"):
        SYSTEMS["endpoint"](Options())
