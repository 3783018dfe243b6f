"""What operators rely on: what is recorded, what ends, what one version is, whose keys go where."""

import asyncio
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from guard.errors import AuditError, DetectionError, EngineError
from guard.guard import Guard
from guard.metrics import Metrics
from guard.proxy.app import App
from guard.proxy.counting import Counter
from guard.proxy.enforcement import Edit
from guard.proxy.fields import MOST_BYTES
from guard.proxy.message import Reply, Request
from guard.proxy.pipeline import Pipeline
from guard.proxy.renewing import reloader
from guard.proxy.schemas.common import with_bad_words
from guard.proxy.start import Settings, prepare
from guard.proxy.upstream import Patience
from guard.recorder import Recorder
from guard.versions import new_version
from tests.proxy.ask import WAYS
from tests.proxy.bundles import REFUSAL, SECRET
from tests.proxy.conftest import Start
from tests.proxy.test_matrix import BOOK, EVERYDAY, LEAK, PERSON, PROJECT, every_way
from tests.proxy.upstream import MODEL, Fake

CHAT = WAYS["chat"]


@dataclass
class Notes:
    """In place of an audit's trail."""

    full: bool = False
    kept: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    def tally(self, action: str) -> None:
        self.kept.append(("tally", {"action": action}))

    def put(self, time: float, kind: str, body: Mapping[str, Any], *, must: bool) -> None:
        if must and self.full:
            raise AuditError("the audit cannot be written")
        self.kept.append((kind, body))

    def of(self, kind: str) -> list[Mapping[str, Any]]:
        return [body for one, body in self.kept if one == kind]


@pytest.fixture
def notes() -> Notes:
    return Notes()


async def pipeline(
    guard: Guard, fake: Fake, counter: Counter, notes: Any = None, **settings: Any
) -> Pipeline:
    said = Settings("http://upstream", guard.bundle.path, **settings)
    transport = httpx.ASGITransport(app=fake)  # type: ignore[arg-type]
    recorder = Recorder(Metrics(CollectorRegistry()), notes)
    return await prepare(said, guard=guard, transport=transport, counter=counter, recorder=recorder)


async def ask(served: Pipeline, text: str, path: str = CHAT.path, **more: Any) -> Reply:
    way = next(way for way in WAYS.values() if path.startswith(way.path))
    body = json.dumps({**way.body(text), **more}).encode()
    return await served.handle(Request("POST", path, {"x-request-id": "r-1"}, body))


async def test_decisions_and_hits_are_recorded_with_no_text(
    reading_guard: Guard, fake: Fake, counter: Counter, notes: Notes
) -> None:
    served = await pipeline(reading_guard, fake, counter, notes)
    for text in (PERSON, BOOK, PROJECT, EVERYDAY):
        assert (await ask(served, text)).status == 200
    fake.pieces = LEAK
    await ask(served, EVERYDAY)
    assert [one["action"] for one in notes.of("decided")] == ["refuse", "instruct", "allow"]
    assert {one["request"] for one in notes.of("decided")} == {"r-1"}
    assert notes.of("decided")[0]["microseconds"].keys() >= {"view", "wait", "detect", "apply"}
    assert [(one["target"], one["action"]) for one in notes.of("hit")] == [("brennick", "answer")]
    assert notes.of("serving")[0]["bundle"] == reading_guard.version
    for secret in ("Odalys", "Lantern", SECRET):
        assert secret not in str(notes.kept)


async def test_what_cannot_be_recorded_does_not_happen(
    reading_guard: Guard, fake: Fake, counter: Counter, notes: Notes
) -> None:
    served = await pipeline(reading_guard, fake, counter, notes)
    notes.full = True
    for text in (PERSON, BOOK):
        assert (await ask(served, text)).status == 503
    assert fake.asked == []
    for text in (EVERYDAY, PROJECT):
        assert (await ask(served, text)).status == 200
    fake.pieces = LEAK
    choice = json.loads((await ask(served, EVERYDAY)).body)["choices"][0]
    assert choice["finish_reason"] == "content_filter"
    assert "Hal" not in choice["message"]["content"]
    assert [one["action"] for one in notes.of("unchecked")] == ["failed"]


async def test_nothing_goes_out_unguarded_and_unrecorded(
    unread_guard: Guard, fake: Fake, counter: Counter, notes: Notes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def broken(*_: Any) -> None:
        raise DetectionError("it broke")

    manifest = unread_guard.bundle.manifest.model_copy(update={"on_error": "open"})
    guard = Guard(replace(unread_guard.bundle, manifest=manifest))
    served = await pipeline(guard, fake, counter, notes)
    monkeypatch.setattr(Guard, "decide", broken)
    assert (await ask(served, EVERYDAY)).status == 200
    assert notes.of("decided")[-1]["action"] == "opened"
    notes.full = True
    assert (await ask(served, EVERYDAY)).status == 503
    assert len(fake.asked) == 1


async def test_a_judgement_that_comes_too_late_is_not_recorded(
    unread_guard: Guard, fake: Fake, counter: Counter, notes: Notes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    manifest = unread_guard.bundle.manifest.model_copy(update={"timeout": 0.2})
    guard = Guard(replace(unread_guard.bundle, manifest=manifest))
    served = await pipeline(guard, fake, counter, notes)
    decide, over = Guard.decide, threading.Event()

    def slow(self: Guard, view: Any) -> Any:
        assert over.wait(20)
        return decide(self, view)

    monkeypatch.setattr(Guard, "decide", slow)
    assert (await ask(served, PERSON)).status == 503
    over.set()
    while served.edition.worker.stuck:
        await asyncio.sleep(0.01)
    assert [one["action"] for one in notes.of("decided")] == ["failed"]


async def test_another_timeout_takes_no_more_threads(
    unread_guard: Guard, fake: Fake, counter: Counter, notes: Notes
) -> None:
    served = await pipeline(unread_guard, fake, counter, notes)
    manifest = unread_guard.bundle.manifest.model_copy(update={"timeout": 0.05})
    before = threading.active_count()
    renewed = served.edition.renewed(Guard(replace(unread_guard.bundle, manifest=manifest)))
    assert renewed.worker is served.edition.worker and threading.active_count() == before
    over = threading.Event()
    with pytest.raises(DetectionError, match=r"0\.05 s"):
        await renewed.judge.run(lambda: over.wait(20))
    over.set()


async def test_what_is_refused_in_place_of_something_else_is_recorded_as_refused(
    unread_guard: Guard, fake: Fake, counter: Counter, notes: Notes
) -> None:
    served = await pipeline(unread_guard, fake, counter, notes, embeddings=["embedder"])
    body = json.dumps({"model": "embedder", "input": BOOK}).encode()
    assert (await served.handle(Request("POST", "/v1/embeddings", {}, body))).status == 400
    assert notes.of("decided")[0]["action"] == "refuse"


async def test_what_has_begun_is_finished_and_nothing_new_begins(
    unread_guard: Guard, fake: Fake, counter: Counter
) -> None:
    served = await pipeline(unread_guard, fake, counter)
    begun = await ask(served, EVERYDAY, stream=True)
    assert begun.stream is not None
    served.load.draining = True
    late = await ask(served, EVERYDAY)
    assert (late.status, late.headers["retry-after"]) == (503, "1")
    assert late.headers["connection"] == "close"
    health = await served.handle(Request("GET", "/health"))
    assert health.status == 503 and json.loads(health.body)["proxy"] == "draining"
    assert b"".join([piece async for piece in begun.stream]).endswith(b"[DONE]\n\n")
    assert served.load.active == 1
    await begun.stream.aclose()
    assert served.load.active == 0


async def test_health_is_told_alike_to_all_who_ask_at_once(
    unread_guard: Guard, fake: Fake, counter: Counter
) -> None:
    served = await pipeline(unread_guard, fake, counter)
    asked = Request("GET", "/health")
    found = await asyncio.gather(*(served.handle(asked) for _ in range(5)))
    assert {one.status for one in found} == {200}


async def test_a_request_is_served_by_one_version(
    unread_guard: Guard, reading_guard: Guard, fake: Fake, counter: Counter, notes: Notes
) -> None:
    served = await pipeline(reading_guard, fake, counter, notes)
    fake.pieces = LEAK
    begun = await ask(served, EVERYDAY, stream=True)
    served.edition = served.edition.renewed(unread_guard)
    assert begun.stream is not None
    assert b"Hal" not in b"".join([piece async for piece in begun.stream])
    await begun.stream.aclose()
    assert [one["bundle"] for one in notes.of("hit")] == [reading_guard.version]
    assert SECRET.encode() in (await ask(served, EVERYDAY)).body  # this version reads no answers
    await ask(served, PERSON)
    assert notes.of("decided")[-1]["bundle"] == unread_guard.version


async def test_what_replaces_the_bundles_folder_is_served_and_what_is_unsound_is_not(
    unread_guard: Guard, fake: Fake, counter: Counter, notes: Notes, tmp_path: Path
) -> None:
    folder = tmp_path / "served"
    targets = [one.model_dump() for one in unread_guard.bundle.manifest.targets]
    guard = Guard(new_version(unread_guard.bundle, folder, targets, {}))
    served = await pipeline(guard, fake, counter, notes)
    looks = reloader(served, folder, served.edition.terms.recorder, 1.0)
    assert looks.look() == "same"
    (refusing,) = next(one for one in targets if one["id"] == "brennick")["interventions"]
    refusing["options"]["message"] = "I never met them."
    held = new_version(guard.bundle, folder, targets, {})
    assert REFUSAL.encode() in (await ask(served, PERSON)).body
    worker = served.edition.worker
    assert looks.look() == "served"
    assert b"I never met them." in (await ask(served, PERSON)).body
    assert notes.of("decided")[-1]["bundle"] == held.version
    assert served.edition.worker is worker, "its threads are no more than before"
    (folder / "manifest.json").write_text("{}", "utf-8")
    assert looks.look() == "refused"
    assert b"I never met them." in (await ask(served, PERSON)).body


async def test_another_models_bundle_is_no_version(
    unread_guard: Guard, fake: Fake, counter: Counter
) -> None:
    served = await pipeline(unread_guard, fake, counter)
    manifest = unread_guard.bundle.manifest
    model = manifest.model.model_copy(update={"sha256": "0" * 64})
    other = manifest.model_copy(update={"model": model})
    with pytest.raises(EngineError, match="was compiled for"):
        served.edition.renewed(Guard(replace(unread_guard.bundle, manifest=other)))


async def test_tokens_are_counted_alike_for_who_is_flagged(
    start: Start, unread_guard: Guard, fake: Fake
) -> None:
    path, way = "/v1/messages/count_tokens", WAYS["messages"]
    async with await start(unread_guard) as client:
        for text in (EVERYDAY, PERSON, BOOK):
            body = {"model": MODEL, "messages": way.body(text)["messages"], "system": "Be kind."}
            response = await client.post(path, json=body)
            assert response.json()["input_tokens"] == 50
            assert fake.asked[-1][0] == path and fake.body == body
        response = await client.post(path, json={**body, "messages": [{"role": "user", "x": 1}]})
        assert response.status_code == 400 and response.json()["type"] == "error"
        assert (await client.post(path, json={**body, "stream": True})).status_code == 400


@every_way
async def test_who_has_no_key_is_told_the_same_of_every_prompt(
    start: Start, unread_guard: Guard, fake: Fake, way: Any
) -> None:
    async with await start(unread_guard) as client:
        fake.key = "right"
        headers = {"x-request-id": "one"}
        found = [
            await client.post(way.path, json=way.body(text), headers=headers)
            for text in (EVERYDAY, PERSON, BOOK)
        ]
    assert len({(one.status_code, one.text, *one.headers.items()) for one in found}) == 1
    assert found[0].status_code == 401


async def test_the_proxys_key_is_nobody_elses_business(
    start: Start, unread_guard: Guard, fake: Fake
) -> None:
    async with await start(unread_guard, own="ours") as client:
        for header in ({"authorization": "Bearer ours"}, {"x-api-key": "ours"}):
            response = await client.post(CHAT.path, json=CHAT.body(EVERYDAY), headers=header)
            assert response.status_code == 200
            assert "ours" not in str(fake.asked[-1])
    with pytest.raises(EngineError, match="one key"):
        await start(unread_guard, own="ours", pass_keys=True)


async def test_a_key_of_the_proxys_that_is_refused_is_no_clients_doing(
    start: Start, unread_guard: Guard, fake: Fake
) -> None:
    async with await start(unread_guard, key="theirs", own="ours") as client:
        fake.key = "another"
        headers = {"authorization": "Bearer ours"}
        response = await client.post(CHAT.path, json=CHAT.body(EVERYDAY), headers=headers)
        assert response.status_code == 502


async def test_a_number_that_cannot_be_written_is_no_number(
    start: Start, unread_guard: Guard, fake: Fake
) -> None:
    async with await start(unread_guard) as client:
        body = json.dumps(CHAT.body(EVERYDAY))[:-1] + ', "temperature": 1e999}'
        headers = {"content-type": "application/json"}
        response = await client.post(CHAT.path, content=body, headers=headers)
    assert response.status_code == 400 and fake.asked == []


class Slow(httpx.AsyncByteStream):
    """Comes after a while, as a stream whose prompt is still being read does."""

    async def __aiter__(self) -> Any:
        await asyncio.sleep(0.2)
        yield b'data: {"choices": [{"index": 0, "delta": {"content": "Hi"}, '
        yield b'"finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'


class Behind(httpx.AsyncBaseTransport):
    """Answers with headers at once, and with the rest after a while."""

    def __init__(self, fake: Fake) -> None:
        self.then = httpx.ASGITransport(app=fake)  # type: ignore[arg-type]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(200, stream=Slow())
        return await self.then.handle_async_request(request)


async def test_the_first_piece_of_a_stream_may_take_as_long_as_a_first_byte(
    unread_guard: Guard, fake: Fake, counter: Counter
) -> None:
    patience = Patience(first=30.0, between=0.05)
    settings = Settings("http://upstream", unread_guard.bundle.path, patience=patience)
    transport = Behind(fake)
    served = await prepare(settings, guard=unread_guard, transport=transport, counter=counter)
    reply = await ask(served, EVERYDAY, stream=True)
    assert reply.stream is not None
    assert b"Hi" in b"".join([piece async for piece in reply.stream])
    await reply.stream.aclose()


async def test_requests_have_one_id_everywhere(
    start: Start, unread_guard: Guard, fake: Fake
) -> None:
    async with await start(unread_guard) as client:
        for given in ("req-1", "bad id\t", None):
            headers = {"x-request-id": given} if given else {}
            response = await client.post(CHAT.path, json=CHAT.body(EVERYDAY), headers=headers)
            name = response.headers["x-request-id"]
            assert fake.asked[-1][2]["x-request-id"] == name
            assert (name == given) == (given == "req-1")
        large = await client.post("/v1/messages", content=b"x" * (MOST_BYTES + 1))
    assert large.status_code == 413 and large.headers["x-request-id"]
    assert large.json()["type"] == "error"  # in its route's schema


async def test_the_body_of_who_is_not_served_is_not_read(
    unread_guard: Guard, fake: Fake, counter: Counter
) -> None:
    served = await pipeline(unread_guard, fake, counter, own="ours")

    async def read() -> bytes:
        raise AssertionError("it was read")

    for draining, status in ((False, 401), (True, 503)):
        served.load.draining = draining
        assert (await served.handle(Request("POST", CHAT.path, {}, read=read))).status == status


async def test_a_client_that_goes_away_while_it_sends_leaves_nothing_behind(
    unread_guard: Guard, fake: Fake, counter: Counter
) -> None:
    served = await pipeline(unread_guard, fake, counter)
    sent = [{"type": "http.request", "body": b"{", "more_body": True}]

    async def receive() -> Any:
        return sent.pop() if sent else {"type": "http.disconnect"}

    async def send(_: Any) -> None:
        pass

    scope = {"type": "http", "method": "POST", "path": CHAT.path, "headers": []}
    await App(served)(scope, receive, send)
    assert served.load.active == 0 and fake.asked == []


def test_words_that_make_fewer_tokens_behind_a_space_are_banned_by_token(counter: Counter) -> None:
    """vLLM bans such a word only where no space is before it."""
    (one,) = counter.tokens(" playwright")
    assert len(counter.tokens("playwright")) > 1
    words = ("playwright", "English")
    body = with_bad_words({"logit_bias": {"5": 7, str(one): 100}}, Edit(None, (), words), counter)
    assert body["bad_words"] == [*words]
    assert body["logit_bias"] == {"5": 7, str(one): -100}
    assert "logit_bias" not in with_bad_words({}, Edit(None, (), words), Counter())


async def test_a_refusal_stands_where_the_server_was_to_be_asked(
    unread_guard: Guard, fake: Fake, counter: Counter
) -> None:
    """Long bodies are read and counted in a thread."""
    served = await pipeline(unread_guard, fake, counter)
    reply = await ask(served, f"{'word ' * 20_000}{PERSON}")
    assert REFUSAL.encode() in reply.body and "Odalys" not in fake.told
