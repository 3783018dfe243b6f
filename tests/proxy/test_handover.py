"""In front of a guarded engine: it is told what was found; nothing leaves that it did not heed."""

import logging
from typing import Any

import httpx
import pytest

from guard.cli import main
from guard.engine.settings import KEY
from guard.errors import EngineError
from guard.guard import Guard
from guard.handover import HEADER, Handover, found
from guard.handover import KEY as VERDICT_KEY
from guard.proxy.app import App
from guard.proxy.counting import Counter
from guard.proxy.start import Settings, prepare
from guard.server.gate import ReadyGate
from tests.proxy.ask import WAYS, answer
from tests.proxy.bundles import REFUSAL, compiled
from tests.proxy.test_matrix import BOOK, EVERYDAY, PERSON
from tests.proxy.upstream import Fake

SIGNER = Handover(b"k" * 32)
STREAMED = pytest.mark.parametrize("stream", [False, True])


class Engine(Fake):
    """A server that notes what it is told was found; the gate stands before it."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        self.told_of: list[frozenset[str]] = []
        self.gate = ReadyGate(super().__call__)
        self.forgets = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def noted(scope: Any, receive: Any, send: Any) -> None:
            if scope.get("method") == "POST":
                self.told_of.append(found.get())
            await Fake.__call__(self, scope, receive, send)

        self.gate.app = noted
        self.gate.open = True
        self.gate.handover = None if self.forgets else SIGNER
        await self.gate(scope, receive, send)


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "ab" * 32)
    monkeypatch.delenv(VERDICT_KEY, raising=False)


@pytest.fixture(scope="session")
def corrupting(tmp_path_factory: pytest.TempPathFactory) -> Guard:
    return Guard(compiled(tmp_path_factory.mktemp("handed"), "{kind: corrupt}"))


@pytest.fixture
def engine() -> Engine:
    return Engine()


async def begin(
    guard: Guard, engine: Engine, counter: Counter, report: Any = lambda line: None, **more: Any
) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=engine)  # type: ignore[arg-type]
    given = {"handover": SIGNER, **more}
    said = Settings("http://upstream/v1", guard.bundle.path, **given)
    pipeline = await prepare(said, report, guard=guard, transport=transport, counter=counter)
    served = httpx.ASGITransport(app=App(pipeline))  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=served, base_url="http://proxy")


@STREAMED
@pytest.mark.parametrize("way", sorted({*WAYS} - {"embeddings"}))
async def test_what_was_found_is_told_and_the_body_is_the_clients(
    corrupting: Guard, engine: Engine, counter: Counter, way: str, stream: bool
) -> None:
    async with await begin(corrupting, engine, counter) as client:
        assert await answer(client, WAYS[way], BOOK, stream=stream) == engine.text
        assert await answer(client, WAYS[way], EVERYDAY, stream=stream) == engine.text
    assert engine.told_of == [{"vessmere"}, frozenset()]
    assert "Vessmere" in engine.told, "the engine edits what it is asked"
    assert HEADER not in engine.asked[1][2]


async def test_a_refusal_is_given_here(corrupting: Guard, engine: Engine, counter: Counter) -> None:
    async with await begin(corrupting, engine, counter) as client:
        assert await answer(client, WAYS["chat"], PERSON, stream=False) == REFUSAL
    assert "Brennick" not in engine.told


@STREAMED
async def test_without_a_receipt_nothing_leaves(
    corrupting: Guard, engine: Engine, counter: Counter, stream: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    async with await begin(corrupting, engine, counter) as client:
        engine.forgets = True  # another server has come to this address
        with caplog.at_level(logging.ERROR, "guard.proxy"):
            way = WAYS["chat"]
            response = await client.post(way.path, json=way.body(BOOK) | {"stream": stream})
        assert response.status_code == 503 and "Hello" not in response.text
        assert "does not heed verdicts" in caplog.text and "Vessmere" not in caplog.text
        assert await answer(client, WAYS["chat"], EVERYDAY, stream=stream) == engine.text


async def test_what_the_engine_says_of_a_bad_request_is_told(
    corrupting: Guard, engine: Engine, counter: Counter
) -> None:
    """It is not asked again without the verdict."""
    async with await begin(corrupting, engine, counter) as client:
        engine.status, engine.message = 400, "Beam search is not available for this prompt."
        response = await client.post(WAYS["chat"].path, json=WAYS["chat"].body(BOOK))
    assert response.status_code == 400 and "Beam search" in response.text
    assert engine.told_of == [{"vessmere"}]


async def test_a_client_cannot_send_a_verdict(
    corrupting: Guard, engine: Engine, counter: Counter
) -> None:
    async with await begin(corrupting, engine, counter) as client:
        headers = {HEADER: SIGNER.sign({"nobody"}, b"")}
        await client.post(WAYS["chat"].path, json=WAYS["chat"].body(EVERYDAY), headers=headers)
    assert engine.told_of == [frozenset()] and HEADER not in engine.asked[0][2]


async def test_it_says_what_each_target_gets(
    corrupting: Guard, engine: Engine, counter: Counter
) -> None:
    lines: list[str] = []
    await (await begin(corrupting, engine, counter, lines.append)).aclose()
    assert "target vessmere (enforce): corrupt (by the engine behind)" in lines
    assert any(line.startswith("target brennick (enforce): refuse") for line in lines)


async def test_what_does_not_heed_is_not_started_before(
    corrupting: Guard, engine: Engine, counter: Counter
) -> None:
    for other in (Handover(b"o" * 32), None):
        engine.gate.handover = other
        with pytest.raises(EngineError, match="is no guarded engine that heeds verdicts"):
            await begin(corrupting, engine, counter, handover=Handover(b"o" * 32))
    with pytest.raises(EngineError, match=r"target vessmere: 'corrupt'.*GUARD_VERDICT_KEY"):
        await begin(corrupting, engine, counter, handover=None)


def test_a_short_key_is_named(
    corrupting: Guard, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VERDICT_KEY, "short")
    given = ["proxy", "--upstream", "http://x", "--bundle", str(corrupting.bundle.path)]
    assert main(given) == 2
    assert "GUARD_VERDICT_KEY is set but has less than 32" in capsys.readouterr().err
