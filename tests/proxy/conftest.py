"""The proxy in front of a fake server, without a network."""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest

from guard.bundle import Bundle
from guard.guard import Guard
from guard.proxy.app import App
from guard.proxy.counting import Counter
from guard.proxy.start import Settings, prepare
from tests.proxy.bundles import ENDING, compiled
from tests.proxy.sockets import served
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


@pytest.fixture(scope="session")
def server() -> Iterator[tuple[Fake, str]]:
    fake = Fake()
    with served(fake) as url:
        yield fake, url


@pytest.fixture
def served_fake(server: tuple[Fake, str]) -> Fake:
    """The server on a socket, as new."""
    one, _ = server
    one.__dict__.update(vars(Fake()))
    return one


@pytest.fixture(scope="session")
def proxy(server: tuple[Fake, str], reading_guard: Guard, tokenizer: Any) -> Iterator[str]:
    settings = Settings(server[1], reading_guard.bundle.path)
    apps: list[App] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if not apps:  # in the loop that it is to serve in
            counter = Counter(tokenizer)
            apps.append(App(await prepare(settings, guard=reading_guard, counter=counter)))
        await apps[0](scope, receive, send)

    with served(app) as url:
        httpx.get(f"{url}/health").raise_for_status()
        yield url
