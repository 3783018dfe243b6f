"""In front of an engine: a request is judged, told and kept apart as its tenant's."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from vllm.sampling_params import RequestOutputKind, SamplingParams

from guard import as_tenant
from guard.engine import verdict
from guard.engine.frontend import Admitted, Frontend, _salt
from guard.engine.mediator import Mediator
from guard.engine.served import Served, kept
from guard.engine.settings import KEY
from guard.engine.verdict import Seals
from guard.errors import GuardError
from guard.events import Event
from guard.guard import Guard
from guard.metrics import Metrics
from guard.recorder import Recorder
from guard.server.gate import ReadyGate
from guard.tenants import NOBODY, Caller, caller
from tests.tenants.bundles import ACME, BOOK, GLOBEX, PERSON

ENGINE: Any = SimpleNamespace(
    model_config=SimpleNamespace(max_model_len=2048), vllm_config=SimpleNamespace()
)


class Noted(Recorder):
    def __init__(self) -> None:
        super().__init__(Metrics(CollectorRegistry()))
        self.events: list[Event] = []

    def __call__(self, event: Event, trace: Any = None) -> None:
        self.events.append(event)


@pytest.fixture(scope="module")
def mediator(tenants_guard: Guard, tokenizer: Any, served: Path) -> Mediator:
    return Mediator(tenants_guard, tokenizer, served)


@pytest.fixture
def record() -> Noted:
    return Noted()


@pytest.fixture
def frontend(mediator: Mediator, record: Noted) -> Frontend:
    return Frontend(mediator, ENGINE, sealed=False, recorder=record)


def admitted(frontend: Frontend, text: str, **sent: Any) -> Admitted:
    ids = frontend.tokenizer.encode(text)
    params = SamplingParams(output_kind=RequestOutputKind.FINAL_ONLY, extra_args=sent or None)
    rendered = {"type": "token", "prompt_token_ids": ids, "prompt": text}
    return frontend.admit(rendered, params)


def ask(frontend: Frontend, text: str) -> tuple[str | None, Any]:
    """Whose request it is, and the finished answer if there is one."""
    one = admitted(frontend, text)
    output = frontend.judged("cmpl-1", one).output
    return one.served.tenant, output and output.outputs[0].text


def test_the_programs_tenant(frontend: Frontend, record: Noted) -> None:
    found = []
    for tenant in ("acme", "globex"):
        with as_tenant(tenant):
            found.append((*ask(frontend, PERSON), ask(frontend, BOOK)[1] is not None))
    found.append((*ask(frontend, PERSON), ask(frontend, BOOK)[1] is not None))
    refusal = found[0][1]
    assert refusal and found == [
        ("acme", refusal, True), ("globex", None, False), (None, refusal, True),
    ]  # fmt: skip
    told = [(event.tenant, event.action) for event in record.events]  # type: ignore[union-attr]
    assert told == [
        ("acme", "refuse"), ("acme", "refuse"), ("globex", "allow"), ("globex", "allow"),
        (None, "refuse"), (None, "refuse"),
    ]  # fmt: skip


def test_a_tenant_that_there_is_not_is_an_error(frontend: Frontend) -> None:
    with as_tenant("initech"), pytest.raises(GuardError, match="has no tenant 'initech'"):
        admitted(frontend, PERSON)


def test_what_fails_is_told_with_its_tenant(
    frontend: Frontend, record: Noted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any) -> Any:
        raise ValueError("broken")

    monkeypatch.setattr(Mediator, "judge", broken)
    with as_tenant("globex"), pytest.raises(Exception, match="could not judge"):
        ask(frontend, PERSON)
    (event,) = record.events
    assert (event.tenant, event.action) == ("globex", "failed")  # type: ignore[union-attr]


def test_a_probe_is_nobodys_whatever_key_it_shows(frontend: Frontend) -> None:
    """Else a start would not prove what does not stand for whose key comes first."""
    sent = {verdict.PROBE: frontend.seals.token("probe")}
    token = verdict.probing.set(True)
    with as_tenant("globex"):
        assert admitted(frontend, BOOK, **sent).served.tenant is None
        verdict.probing.reset(token)
        assert admitted(frontend, BOOK, **sent).served.tenant == "globex"


def test_a_request_keeps_to_its_bundle_and_tenant(frontend: Frontend, mediator: Mediator) -> None:
    token = kept.set({})
    with as_tenant("globex"):
        first = admitted(frontend, PERSON)
        frontend.served = Served(mediator.for_tenant(None), since=1.0)
        second = admitted(frontend, PERSON)
    kept.reset(token)
    assert first.served.since == second.served.since
    assert (first.served.tenant, second.served.tenant) == ("globex", "globex")


def test_edited_prompts_of_two_tenants_never_share_the_cache() -> None:
    whose = [_salt("client", "v1", "corrupt", tenant) for tenant in ("acme", "globex", None)]
    assert len(set(whose)) == 3
    # No salt of a client's own makes up for another tenant.
    made = _salt("x\0v1\0corrupt\0acme", "v1", "corrupt", "globex")
    assert made not in {*whose, _salt("x", "v1", "corrupt", "acme")}


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> tuple[ReadyGate, list[Caller]]:
    monkeypatch.setenv(KEY, "ab" * 32)
    seen: list[Caller] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(caller.get())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    made = ReadyGate(app)
    made.open = True
    return made, seen


async def test_the_gate_says_whose_key_was_shown(gate: tuple[ReadyGate, list[Caller]]) -> None:
    made, seen = gate
    transport = httpx.ASGITransport(app=made)
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        for headers in (
            {"authorization": f"Bearer {ACME}"},
            {"authorization": f"Bearer {GLOBEX}"},
            {"x-api-key": ACME, "x-tenant": "acme"},
            {},
        ):
            # What an earlier request left behind, or a program has named, holds for no client.
            token = caller.set(Caller(tenant="acme"))
            await client.post("/v1/completions", headers=headers)
            caller.reset(token)
        shut = Seals(bytes.fromhex("ab" * 32)).token("gate")
        made.open = False
        headers = {"authorization": f"Bearer {ACME}", "x-guard-probe": shut}
        await client.post("/v1/completions", headers=headers)
    acme, globex = Caller.of_key(ACME.encode()), Caller.of_key(GLOBEX.encode())
    assert seen == [acme, globex, NOBODY, NOBODY, acme]
