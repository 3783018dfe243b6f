"""The proxy in front of a fake server, without a network."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from guard.bundle import Bundle
from guard.guard import Guard
from guard.proxy.app import App
from guard.proxy.counting import Counter
from guard.proxy.start import Settings, prepare
from tests.proxy.bundles import ENDING, compiled
from tests.proxy.upstream import Fake

Start = Callable[..., Awaitable[httpx.AsyncClient]]


@pytest.fixture(scope="session")
def unread_guard(tmp_path_factory: pytest.TempPathFactory) -> Guard:
    """Answers are not checked."""
    return Guard(compiled(tmp_path_factory.mktemp("unread")))


@pytest.fixture(scope="session")
def reading_guard(tmp_path_factory: pytest.TempPathFactory) -> Guard:
    """Answers about the person are read."""
    output = f"{{check: exact, on_hit: answer, answer: {ENDING}}}"
    return Guard(compiled(tmp_path_factory.mktemp("read"), brennick=output))


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest.fixture
def counter(tokenizer: Any) -> Counter:
    return Counter(tokenizer)


@pytest.fixture
def start(fake: Fake, counter: Counter) -> Start:
    """Starts a proxy in front of the fake server; returns a client of it."""

    async def begin(guard: Guard | Bundle, **settings: Any) -> httpx.AsyncClient:
        guard = guard if isinstance(guard, Guard) else Guard(guard)
        transport = httpx.ASGITransport(app=fake)  # type: ignore[arg-type]
        said = Settings("http://upstream/v1", guard.bundle.path, **settings)
        pipeline = await prepare(said, guard=guard, transport=transport, counter=counter)
        served = httpx.ASGITransport(app=App(pipeline))  # type: ignore[arg-type]
        return httpx.AsyncClient(transport=served, base_url="http://proxy")

    return begin
