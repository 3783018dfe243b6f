"""A proxy's verdict at the gate: heeded with its key alone, for its body alone."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from guard.engine.settings import KEY, start_key
from guard.engine.verdict import Seals
from guard.errors import EngineError
from guard.handover import HEADER, RECEIPT, Handover, found
from guard.handover import KEY as VERDICT_KEY
from guard.server.gate import OPEN_HEADER, ReadyGate

SIGNER = Handover(b"k" * 32)
BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "é" * 3000}]}).encode()
CHAT = "/v1/chat/completions"


class App:
    """Notes what was found, and the body."""

    def __init__(self) -> None:
        self.found: list[frozenset[str]] = []
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.found.append(found.get())
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.bodies.append(body)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
        await send({"type": "http.response.body", "body": b"from the model"})


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "ab" * 32)
    monkeypatch.setenv(VERDICT_KEY, "k" * 32)


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
async def server(app: App) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=ReadyGate(app))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        opening = {OPEN_HEADER.decode(): Seals(start_key()).token("open")}
        assert (await client.get("/health", headers=opening)).status_code == 200
        yield client


async def pieces(body: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(body), 1000):
        yield body[at : at + 1000]


@pytest.mark.parametrize("in_pieces", [False, True])
async def test_what_a_proxy_has_found_is_told(
    server: httpx.AsyncClient, app: App, in_pieces: bool
) -> None:
    header = SIGNER.sign({"alice", "bob"}, BODY)
    content = pieces(BODY) if in_pieces else BODY
    response = await server.post(CHAT, content=content, headers={HEADER: header})
    assert (response.status_code, response.text, response.headers["a"]) == (
        200, "from the model", "b",
    )  # fmt: skip
    assert (app.found, app.bodies) == ([{"alice", "bob"}], [BODY])
    assert SIGNER.heeded(header, response.headers.get(RECEIPT))


def forged() -> Iterator[tuple[str, str]]:
    genuine = SIGNER.sign({"alice"}, BODY)
    yield "of another body", SIGNER.sign({"alice"}, BODY + b" ")
    yield "of another key", Handover(b"o" * 32).sign({"alice"}, BODY)
    yield "changed", genuine[:-1] + ("0" if genuine[-1] != "0" else "1")
    yield "empty", ""
    yield "no verdict", "alice"


@pytest.mark.parametrize(("what", "header"), list(forged()))
async def test_what_nobody_signed_is_a_header_like_any_other(
    server: httpx.AsyncClient, app: App, what: str, header: str
) -> None:
    plain = await server.post(CHAT, content=BODY)
    response = await server.post(CHAT, content=BODY, headers={HEADER: header})
    assert (response.status_code, response.headers, response.text) == (
        plain.status_code, plain.headers, plain.text,
    )  # fmt: skip
    assert (app.found, app.bodies) == ([frozenset()] * 2, [BODY] * 2)


async def test_it_is_for_one_request(server: httpx.AsyncClient, app: App) -> None:
    await server.post(CHAT, content=BODY, headers={HEADER: SIGNER.sign({"alice"}, BODY)})
    await server.post(CHAT, content=BODY)
    assert app.found == [{"alice"}, frozenset()]


async def test_a_proxy_can_ask_whether_it_would_be_heeded(server: httpx.AsyncClient) -> None:
    header = SIGNER.sign((), b"")
    response = await server.get("/v1/models", headers={HEADER: header})
    assert SIGNER.heeded(header, response.headers.get(RECEIPT))


async def test_a_route_that_is_not_served_is_refused_all_the_same(
    server: httpx.AsyncClient, app: App
) -> None:
    header = {HEADER: SIGNER.sign({"alice"}, BODY)}
    assert (await server.post("/no/such/route", content=BODY, headers=header)).status_code == 404
    assert app.found == []


def test_without_a_key_nothing_is_heeded(monkeypatch: pytest.MonkeyPatch, app: App) -> None:
    monkeypatch.delenv(VERDICT_KEY)
    assert ReadyGate(app).handover is None
    monkeypatch.setenv(VERDICT_KEY, "")
    with pytest.raises(EngineError, match="GUARD_VERDICT_KEY is set but has less than 32"):
        ReadyGate(app)
