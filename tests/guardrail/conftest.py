"""A guardrail and the gateway that asks it, without a network."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from guard.guard import Guard
from guard.guardrail.app import make_app
from guard.guardrail.edition import Edition
from guard.guardrail.service import Service
from guard.metrics import Metrics
from guard.recorder import Recorder
from tests.guardrail.gateway import KEY, Gateway
from tests.proxy.bundles import ENDING, compiled

Start = Callable[..., Gateway]


@pytest.fixture(scope="session")
def reading(tmp_path_factory: pytest.TempPathFactory) -> Guard:
    """A person is refused, a book instructed, a project in shadow; answers are read."""
    output = f"{{check: exact, on_hit: answer, answer: {ENDING}}}"
    filtered = "{check: exact, on_hit: filter}"
    folder = tmp_path_factory.mktemp("guardrail")
    return Guard(compiled(folder, brennick=output, tidewater=filtered))


@pytest.fixture(scope="session")
def corrupting(tmp_path_factory: pytest.TempPathFactory) -> Guard:
    return Guard(compiled(tmp_path_factory.mktemp("corrupting"), "{kind: corrupt}"))


class Events(Recorder):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(Metrics(CollectorRegistry()))
        self.events: list[Any] = []

    def __call__(self, event: Any, trace: Any = None) -> None:
        self.events.append(event)
        super().__call__(event, trace)


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def start(events: Events) -> Start:
    def begin(guard: Guard, service: type[Service] = Service, *, instead: bool = False) -> Gateway:
        app = make_app(service(Edition.of(guard, instead=instead), events), KEY)
        transport = httpx.ASGITransport(app=app)
        return Gateway(httpx.AsyncClient(transport=transport, base_url="http://guardrail"))

    return begin
