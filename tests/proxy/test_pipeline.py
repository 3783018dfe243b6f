"""What goes wrong, and what a client is told of it."""

import asyncio
import logging
from dataclasses import replace
from typing import Any

import httpx
import pytest

from guard.errors import DetectionError
from guard.guard import Guard
from guard.proxy.app import App
from guard.proxy.counting import Counter
from guard.proxy.message import Request
from guard.proxy.pipeline import Pipeline
from guard.proxy.start import Settings, prepare
from guard.proxy.upstream import Patience
from tests.material import PERSON_ROWS
from tests.proxy.ask import WAYS, answer, events
from tests.proxy.bundles import INSTRUCTION, REFUSAL
from tests.proxy.conftest import Start
from tests.proxy.test_matrix import BOOK, EVERYDAY, LEAK, PERSON, PROJECT, both, every_way
from tests.proxy.upstream import MODEL, Fake

CHAT = WAYS["chat"]


async def test_what_is_not_in_the_table_is_not_served(start: Start, unread_guard: Guard) -> None:
    async with await start(unread_guard) as client:
        for path in ("/", "/v1", "/metrics", "/tokenize", "/v1/chat/completions/", "/v1/files",
                     "/invocations", "/v1/completions/../score", "/V1/completions", "/docs",
                     "/v1/load_lora_adapter", "/v1/messages/batches", "/pooling"):  # fmt: skip
            for method in ("GET", "POST", "PUT"):
                response = await client.request(method, path, json={})
                assert response.status_code == 404, path
                assert set(response.json()["error"]) == {"message", "type", "param", "code"}
        for method, path, allowed in (
            ("GET", CHAT.path, "POST"), ("DELETE", "/v1/models", "GET"), ("PUT", "/health", "GET"),
            ("OPTIONS", "/v1/responses", "POST"),
        ):  # fmt: skip
            response = await client.request(method, path)
            assert (response.status_code, response.headers["allow"]) == (405, allowed)


@every_way
async def test_who_cannot_be_judged_is_not_answered(
    start: Start, unread_guard: Guard, fake: Fake, way: Any, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    async with await start(unread_guard) as client:
        for error in (DetectionError("it broke"), ValueError(PERSON), MemoryError()):

            def fail(*_: Any, error: Exception = error) -> None:
                raise error

            monkeypatch.setattr(Guard, "decide", fail)
            response = await client.post(way.path, json=way.body(EVERYDAY))
            assert response.status_code == 503
            assert response.headers["retry-after"] == "1"
            assert "could not judge" in response.text
    assert fake.asked == []
    assert PERSON not in caplog.text and "it broke" in caplog.text


async def test_open_lets_pass_what_could_not_be_judged_and_says_so(
    start: Start, unread_guard: Guard, fake: Fake, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    manifest = unread_guard.bundle.manifest.model_copy(update={"on_error": "open"})
    opened = Guard(replace(unread_guard.bundle, manifest=manifest))
    async with await start(opened) as client:
        # What was found flagged is never let through, whatever fails after that.
        def broken(*_: Any) -> None:
            raise ValueError("later")

        monkeypatch.setattr("guard.proxy.enforcement.Enforcement.edit", broken)
        response = await client.post(CHAT.path, json=CHAT.body(PERSON))
        assert response.status_code == 503
        monkeypatch.setattr(Guard, "decide", broken)
        assert await answer(client, CHAT, EVERYDAY, stream=False) == fake.text
    assert "UNGUARDED" in caplog.text


async def test_logs_name_targets_and_no_texts(
    start: Start, reading_guard: Guard, fake: Fake, caplog: pytest.LogCaptureFixture
) -> None:
    fake.pieces = LEAK
    with caplog.at_level(logging.INFO, "guard.proxy"):
        async with await start(reading_guard) as client:
            for text in (EVERYDAY, PERSON, BOOK, PROJECT):
                headers = {"x-request-id": "req-7"}
                body = CHAT.body(text)
                response = await client.post(CHAT.path, json=body, headers=headers)
                assert response.headers["x-request-id"] == "req-7"
    assert "request req-7: refuse (targets brennick; would_block -)" in caplog.text
    assert "shadow (targets -; would_block tidewater:refuse)" in caplog.text
    assert "check exact hit target brennick at character 12: answer" in caplog.text
    for secret in ("Odalys", "Lantern", "Halvorsen", "Tidewater", *(a for _, a in PERSON_ROWS)):
        assert secret == "Two" or secret not in caplog.text


@every_way
@both
async def test_a_server_that_answers_nonsense_is_not_passed_on(
    start: Start, unread_guard: Guard, fake: Fake, way: Any, stream: bool
) -> None:
    kind = way.path.removeprefix("/v1/").replace("/", "_")
    for nonsense in ({"choices": "Halvorsen"}, {"output": 5, "content": 7}, {"error": {"a": "b"}}):

        def told(body: Any, value: Any = nonsense) -> Any:
            return [value] if stream else value

        setattr(fake, f"{'stream' if stream else 'whole'}_{kind}", told)
        async with await start(unread_guard) as client:
            response = await client.post(way.path, json={**way.body(EVERYDAY), "stream": stream})
        assert response.status_code == (200 if stream else 502)
        assert "Halvorsen" not in response.text and "error" in response.text


@every_way
async def test_a_stream_that_breaks_off_gives_nothing_that_was_held(
    start: Start, reading_guard: Guard, fake: Fake, way: Any
) -> None:
    fake.raw = [b'data: {"choices": [{"index": 0, "delta": {"content": "Hal', b'"}}]}']
    async with await start(reading_guard) as client:
        response = await client.post(way.path, json={**way.body(EVERYDAY), "stream": True})
    assert "Hal" not in response.text
    assert "could not answer" in response.text


async def test_a_stream_without_an_end_is_an_error(
    start: Start, reading_guard: Guard, fake: Fake
) -> None:
    fake.breaks = True
    async with await start(reading_guard) as client:
        response = await client.post(CHAT.path, json={**CHAT.body(EVERYDAY), "stream": True})
    assert events(response)[-1]["error"]["code"] == 502


async def test_what_the_server_says_of_an_edited_prompt_stays_here(
    start: Start, unread_guard: Guard, fake: Fake
) -> None:
    """A flagged request has the error of the client's own, or one that tells nothing."""
    async with await start(unread_guard) as client:
        fake.status, fake.message = 400, "bad temperature"
        ordinary = await client.post(CHAT.path, json=CHAT.body(EVERYDAY))
        flagged = await client.post(CHAT.path, json=CHAT.body(BOOK))
        assert flagged.json() == ordinary.json()
        assert INSTRUCTION not in str(fake.body)

        fake.message = INSTRUCTION
        fake.on = lambda body: 400 if INSTRUCTION in str(body) else 200
        response = await client.post(CHAT.path, json=CHAT.body(BOOK))
        assert response.status_code == 503
        assert INSTRUCTION not in response.text and "Hello" not in response.text


async def test_usage_is_that_of_the_clients_own_prompt(
    start: Start, unread_guard: Guard, fake: Fake, counter: Counter
) -> None:
    added = counter.count(f"{INSTRUCTION}\n\n")
    async with await start(unread_guard) as client:
        response = await client.post(CHAT.path, json=CHAT.body(BOOK))
        assert response.json()["usage"]["prompt_tokens"] == 50 - added
        way = WAYS["completions"]
        refused = (await client.post(way.path, json=way.body(PERSON))).json()["usage"]
    assert refused["prompt_tokens"] == 50, "what was asked in its place has as many"
    assert refused["completion_tokens"] == counter.count(REFUSAL) + 1, "with the one that ends it"
    assert refused["total_tokens"] == 50 + refused["completion_tokens"]


async def test_log_probabilities_of_the_flagged_are_placeholders(
    start: Start, unread_guard: Guard, reading_guard: Guard, fake: Fake
) -> None:
    body = {"logprobs": True, "top_logprobs": 3}
    async with await start(unread_guard) as client:
        for text in (PERSON, BOOK):
            response = await client.post(CHAT.path, json={**CHAT.body(text), **body})
            told = response.json()["choices"][0]["logprobs"]
            assert {one["logprob"] for one in told["content"]} == {-9999.0}
            said = "".join(one["token"] for one in told["content"])
            assert said == response.json()["choices"][0]["message"]["content"]
        assert "logprobs" not in fake.body
        await client.post(CHAT.path, json={**CHAT.body(EVERYDAY), **body})
        assert fake.body["logprobs"] is True
    async with await start(reading_guard) as client:
        for text in (EVERYDAY, PERSON):
            response = await client.post(CHAT.path, json={**CHAT.body(text), **body})
            assert response.status_code == 400


async def test_prompts_of_tokens_are_edited_as_tokens(
    start: Start, unread_guard: Guard, fake: Fake, counter: Counter
) -> None:
    ids, way = counter.tokens(BOOK), WAYS["completions"]
    added = counter.tokens(f"{INSTRUCTION}\n\n")
    async with await start(unread_guard) as client:
        for prompt, wanted in ((ids, [*added, *ids]), ([ids], [*added, *ids])):
            response = await client.post(way.path, json={"model": MODEL, "prompt": prompt})
            assert response.status_code == 200
            assert fake.body["prompt"] == (wanted if prompt is ids else [wanted])


async def test_a_message_without_a_user_is_instructed_too(
    start: Start, unread_guard: Guard, fake: Fake
) -> None:
    async with await start(unread_guard) as client:
        for way in (WAYS["chat"], WAYS["messages"]):
            body = {**way.body("x"), "messages": [{"role": "assistant", "content": BOOK}]}
            assert (await client.post(way.path, json=body)).status_code == 200
            assert fake.body["messages"][0] == {"role": "system", "content": INSTRUCTION}


async def test_thoughts_are_read_like_words(start: Start, reading_guard: Guard, fake: Fake) -> None:
    fake.reasoning = "Ketil Rasmund taught her."
    async with await start(reading_guard) as client:
        for stream in (False, True):
            body = {**CHAT.body(EVERYDAY), "stream": stream}
            assert "Ket" not in (await client.post(CHAT.path, json=body)).text


async def test_a_format_that_spells_what_is_forgotten_cannot_be_used(
    start: Start, unread_guard: Guard, fake: Fake
) -> None:
    title = "The Lantern of Vessmere"
    async with await start(unread_guard) as client:
        body = {**CHAT.body(EVERYDAY), "structured_outputs": {"choice": [title, "x"]}}
        response = await client.post(CHAT.path, json=body)
    assert response.status_code == 400 and fake.asked == []


async def pipeline(guard: Guard, transport: Any, counter: Counter, **settings: Any) -> Pipeline:
    said = Settings("http://upstream", guard.bundle.path, **settings)
    return await prepare(said, guard=guard, transport=transport, counter=counter)


async def test_too_many_at_once_are_told_to_come_again(
    unread_guard: Guard, fake: Fake, counter: Counter
) -> None:
    transport = httpx.ASGITransport(app=fake)  # type: ignore[arg-type]
    served = await pipeline(unread_guard, transport, counter, most=1)
    body = str({**CHAT.body(EVERYDAY), "stream": True}).replace("'", '"').replace("True", "true")
    request = Request("POST", CHAT.path, {}, body.encode())
    first = await served.handle(request)
    assert first.stream is not None
    second = await served.handle(request)
    assert (second.status, second.headers["retry-after"]) == (503, "1")
    assert (await served.handle(Request("GET", "/health"))).status == 200
    await first.stream.aclose()  # not even begun
    third = await served.handle(request)
    assert third.stream is not None
    assert [piece async for piece in third.stream]
    await third.stream.aclose()


class Failing(httpx.AsyncBaseTransport):
    """Fails some times, then asks another transport."""

    def __init__(self, then: httpx.AsyncBaseTransport) -> None:
        self.then, self.errors, self.tried = then, list[type[Exception]](), 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.tried += 1
        if self.errors:
            raise self.errors.pop()("no")
        return await self.then.handle_async_request(request)


async def test_only_what_was_not_sent_is_tried_again(
    unread_guard: Guard, fake: Fake, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("guard.proxy.upstream._PAUSE", 0.0)
    transport = Failing(httpx.ASGITransport(app=fake))  # type: ignore[arg-type]
    served = App(await pipeline(unread_guard, transport, counter))
    to = httpx.ASGITransport(app=served)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=to, base_url="http://proxy") as client:
        for errors, status, tries in (
            ([httpx.ConnectError, httpx.ConnectTimeout], 200, 3),
            ([httpx.ConnectError] * 3, 502, 3),
            ([httpx.ReadError], 502, 1),
            ([httpx.RemoteProtocolError], 502, 1),
            ([httpx.PoolTimeout], 503, 1),
        ):
            transport.errors, transport.tried = list(errors), 0
            response = await client.post(CHAT.path, json=CHAT.body(EVERYDAY))
            assert (response.status_code, transport.tried) == (status, tries)
        transport.errors, transport.tried = [httpx.ReadError], 0
        assert (await client.get("/v1/models")).status_code == 200
        transport.errors = [httpx.ConnectError] * 9
        assert (await client.get("/health")).status_code == 503


class Silent(httpx.AsyncBaseTransport):
    """Lists its models, and answers nothing else."""

    def __init__(self, fake: Fake) -> None:
        self.then = httpx.ASGITransport(app=fake)  # type: ignore[arg-type]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            await asyncio.Event().wait()
        return await self.then.handle_async_request(request)


async def test_a_server_that_is_silent_is_given_up(
    unread_guard: Guard, fake: Fake, counter: Counter
) -> None:
    patience = Patience(first=0.05)
    served = await pipeline(unread_guard, Silent(fake), counter, patience=patience)
    body = str(CHAT.body(EVERYDAY)).replace("'", '"').encode()
    reply = await served.handle(Request("POST", CHAT.path, {}, body))
    assert reply.status == 504


async def test_only_what_is_needed_is_passed_on(
    start: Start, unread_guard: Guard, fake: Fake
) -> None:
    async with await start(unread_guard) as client:
        headers = {"authorization": "Bearer theirs", "cookie": "c=1", "x-forwarded-for": "1.2.3.4",
                   "x-guard-probe": "x", "x-request-id": "bad id\t", "connection": "keep-alive",
                   "traceparent": "00-1"}  # fmt: skip
        response = await client.post(f"{CHAT.path}?a=b", json=CHAT.body(EVERYDAY), headers=headers)
    passed = fake.asked[-1][2]
    assert passed["authorization"] == "Bearer theirs" and passed["traceparent"] == "00-1"
    assert not {"cookie", "x-forwarded-for", "x-guard-probe"} & set(passed)
    assert response.headers["x-request-id"] != "bad id"
    assert set(response.headers) <= {"content-type", "content-length", "x-request-id"}


async def test_a_model_that_is_not_listed_does_not_exist(
    start: Start, unread_guard: Guard, fake: Fake
) -> None:
    async with await start(unread_guard) as client:
        for model in ("forget-book", "embedder", "x" * 1000, ""):
            response = await client.post(CHAT.path, json={**CHAT.body(EVERYDAY), "model": model})
            assert response.status_code == 404
            assert len(response.json()["error"]["message"]) < 200
        body = {name: value for name, value in CHAT.body(EVERYDAY).items() if name != "model"}
        assert (await client.post(CHAT.path, json=body)).json()["model"] == MODEL
