"""Readiness that tells the truth, and nothing of targets; requests while a server ends."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from guard.engine.served import kept
from guard.server.drain import FOLDER, Drain
from guard.server.health import READY, Health

SERVED = SimpleNamespace(version="da83bb64094cba71", since=1_790_000_000.0)


class App:
    """A small server behind it."""

    def __init__(self, frontend: Any) -> None:
        self.state = SimpleNamespace(engine_client=SimpleNamespace(_guard_frontend=frontend))
        self.seen: list[str] = []
        self.kept: list[Any] = []
        self.during: Any = lambda: None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.seen.append(scope.get("path", scope["type"]))
        self.kept.append(kept.get())
        self.during()
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"from the model"})


class Outer:
    """The application, as Starlette calls its middleware."""

    def __init__(self, inner: App) -> None:
        self.inner, self.health = inner, Health(inner)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.health({**scope, "app": self.inner}, receive, send)


@pytest.fixture
def drain(monkeypatch: pytest.MonkeyPatch) -> Iterator[Drain]:
    made = Drain()
    monkeypatch.setenv(FOLDER, str(made.folder))
    yield made
    made.close()


@pytest.fixture
def frontend() -> Any:
    return SimpleNamespace(served=SERVED, worker=SimpleNamespace(ended=False))


@pytest.fixture
def outer(drain: Drain, frontend: Any) -> Outer:
    return Outer(App(frontend))


def client(outer: Outer, root: str = "") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=outer, root_path=root)
    return httpx.AsyncClient(transport=transport, base_url="http://server")


async def test_a_server_that_is_ready_says_by_which_version_and_since_when(outer: Outer) -> None:
    async with client(outer) as http:
        response = await http.get(READY)
        assert response.status_code == 200
        since = "2026-09-21T14:13:20+00:00"
        assert response.json() == {"ready": True, "bundle": SERVED.version, "since": since}
        assert (await http.head(READY)).status_code == 200
        assert (await http.post(READY)).status_code == 405
    assert outer.inner.seen == []


async def test_a_path_prefix_is_no_matter(outer: Outer) -> None:
    async with client(outer, "/prefix") as http:
        assert (await http.get(f"/prefix{READY}/")).json()["ready"] is True


async def test_a_server_whose_guard_hangs_is_neither_ready_nor_alive(
    outer: Outer, frontend: Any
) -> None:
    frontend.worker.ended = True
    async with client(outer) as http:
        assert (await http.get(READY)).status_code == 503
        assert (await http.get("/health")).status_code == 503
        assert (await http.get("/metrics")).status_code == 200
    assert outer.inner.seen == ["/metrics"]


async def test_a_server_without_a_guard_is_not_ready(drain: Drain) -> None:
    async with client(Outer(App(None))) as http:
        response = await http.get(READY)
    assert response.status_code == 503 and response.json()["ready"] is False


async def test_a_server_that_ends_refuses_what_comes_and_stays_alive(
    outer: Outer, drain: Drain
) -> None:
    assert drain(0, lambda: True)
    async with client(outer) as http:
        for path in ("/v1/chat/completions", "/v1/models", "/no/such/route"):
            response = await http.post(path)
            assert response.status_code == 503
            assert response.headers["retry-after"] == "1"
            assert response.headers["connection"] == "close"
            error = response.json()["error"]
            assert set(error) == {"message", "type", "param", "code"} and error["code"] == 503
        assert (await http.get(READY)).status_code == 503
        assert (await http.get("/health")).status_code == 200
        assert (await http.get("/metrics")).status_code == 200
    assert outer.inner.seen == ["/health", "/metrics"]


async def test_a_request_that_runs_is_waited_for_even_if_it_fails(
    outer: Outer, drain: Drain
) -> None:
    found = []

    def during() -> None:
        found.append(drain(0, lambda: True))
        raise RuntimeError

    outer.inner.during = during
    async with client(outer) as http:
        with pytest.raises(RuntimeError):
            await http.post("/v1/completions")
    assert found == [False]
    assert drain(0, lambda: True)


async def test_websockets_are_closed_as_a_restart_closes_them(outer: Outer, drain: Drain) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/v1/realtime", "headers": []}
    await outer(scope, None, send)
    assert outer.inner.seen == ["/v1/realtime"] and outer.inner.kept == [None]
    drain(0, lambda: True)
    await outer(scope, None, send)
    assert sent == [{"type": "websocket.close", "code": 1012}]


async def test_each_http_request_keeps_to_a_version_of_its_own(outer: Outer) -> None:
    async with client(outer) as http:
        await http.post("/v1/completions")
        await http.post("/v1/completions")
    first, second = outer.inner.kept
    assert first == second == {} and first is not second


async def test_lifespan_passes(outer: Outer) -> None:
    await outer({"type": "lifespan"}, None, None)
    assert outer.inner.seen == ["lifespan"]
