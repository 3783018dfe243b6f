"""Tenants of one proxy, told apart by the keys that they show it; in a client, by its program."""

from dataclasses import replace
from typing import Any

import httpx
import pytest

from guard import as_tenant
from guard.bundle import Bundle
from guard.client import GuardedClient
from guard.errors import EngineError
from guard.guard import Guard
from guard.interventions.refuse import RefuseOptions
from guard.proxy.app import App
from guard.proxy.counting import Counter
from guard.proxy.start import Settings, prepare
from guard.recorder import Recorder
from tests.proxy.ask import WAYS
from tests.proxy.bundles import REFUSAL
from tests.proxy.conftest import Start
from tests.proxy.upstream import MODEL, Fake
from tests.tenants.bundles import ACME, ACMES, BOOK, GLOBEX, PERSON, compiled

OWN = "the-proxys-own-key-" + "0" * 32
Shown = dict[str, str]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return compiled(tmp_path_factory.mktemp("tenants"))


@pytest.fixture(scope="module")
def tenants(whole: Bundle) -> Guard:
    return Guard(whole)


def bearer(key: str) -> Shown:
    return {"authorization": f"Bearer {key}"}


async def said(client: httpx.AsyncClient, text: str, shown: Shown, way: str = "chat") -> str:
    asked = WAYS[way]
    response = await client.post(asked.path, json=asked.body(text), headers=shown)
    assert response.status_code == 200, response.text
    return asked.said(response.json())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("settings", [{}, {"own": OWN, "key": "upstream"}])
async def test_each_schema_tells_tenants_apart(
    start: Start, tenants: Guard, fake: Fake, way: str, settings: dict[str, str]
) -> None:
    nobodys = bearer(OWN if settings else "sk-unknown")
    async with await start(tenants, **settings) as client:
        for shown, person, book in (
            (bearer(ACME), REFUSAL, ACMES),
            ({"x-api-key": ACME}, REFUSAL, ACMES),
            (bearer(GLOBEX), fake.text, fake.text),
            ({"x-api-key": GLOBEX}, fake.text, fake.text),
            (nobodys, REFUSAL, ACMES),
        ):
            assert await said(client, PERSON, shown, way) == person
            assert await said(client, BOOK, shown, way) == book


async def test_no_header_or_field_makes_a_tenant(start: Start, tenants: Guard) -> None:
    async with await start(tenants) as client:
        for more in ({"x-tenant": "globex"}, {"x-guard-tenant": "globex"}, {"x-api-key": GLOBEX}):
            assert await said(client, PERSON, {**bearer(ACME), **more}) == REFUSAL
        body = {**WAYS["chat"].body(PERSON), "user": "globex"}
        response = await client.post(WAYS["chat"].path, json=body, headers=bearer(ACME))
        assert REFUSAL in response.text
        assert await said(client, PERSON, {}) == REFUSAL
        # Of two keys it cannot be told which the server goes by.
        for other in (ACME, "sk-unknown"):
            assert await said(client, PERSON, {**bearer(GLOBEX), "x-api-key": other}) == REFUSAL
        assert await said(client, PERSON, {**bearer(GLOBEX), "x-api-key": GLOBEX}) != REFUSAL


async def test_with_a_key_of_its_own_it_takes_tenants_keys_and_no_others(
    start: Start, tenants: Guard, fake: Fake
) -> None:
    way = WAYS["chat"]
    async with await start(tenants, own=OWN, key="upstream") as client:
        for shown in (
            {},
            bearer("sk-unknown"),
            bearer("upstream"),
            {**bearer("sk-unknown"), "x-api-key": GLOBEX},
            {"x-tenant": "globex"},
        ):
            response = await client.post(way.path, json=way.body(PERSON), headers=shown)
            assert response.status_code == 401
        await said(client, PERSON, bearer(GLOBEX))
        _, _, headers = fake.asked[-1]
        assert GLOBEX not in str(headers)  # it is nobody else's business


async def test_what_is_decided_names_the_tenant(
    tenants: Guard, fake: Fake, counter: Counter
) -> None:
    told: list[Any] = []

    class Noted(Recorder):
        def __call__(self, event: Any, trace: Any = None) -> None:
            told.append(event)

    transport = httpx.ASGITransport(app=fake)
    settings, lines = Settings("http://upstream/v1", tenants.bundle.path), list[str]()
    pipeline = await prepare(
        settings, lines.append, guard=tenants, transport=transport, counter=counter,
        recorder=Noted(),
    )  # fmt: skip
    told.clear()
    served = httpx.ASGITransport(app=App(pipeline))
    async with httpx.AsyncClient(transport=served, base_url="http://proxy") as client:
        for key in (ACME, GLOBEX, "sk-unknown"):
            await said(client, PERSON, bearer(key))
    assert [(event.tenant, event.action) for event in told] == [
        ("acme", "refuse"), ("globex", "allow"), (None, "refuse"),
    ]  # fmt: skip
    assert "tenant globex: target brennick (shadow): refuse" in lines
    assert "tenant globex: target vessmere does not stand" in lines
    assert not any(key in str((told, lines)) for key in (ACME, GLOBEX, "sk-unknown"))


async def test_what_fails_names_the_tenant_and_is_refused(
    start: Start,
    tenants: Guard,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    real = Guard.decide

    def broken(self: Guard, prompt: Any) -> Any:
        if self.tenant == "globex":
            raise ValueError("broken")
        return real(self, prompt)

    monkeypatch.setattr(Guard, "decide", broken)
    async with await start(tenants) as client:
        way = WAYS["chat"]
        response = await client.post(way.path, json=way.body(BOOK), headers=bearer(GLOBEX))
        assert response.status_code == 503
        (event,) = [
            one.__dict__["guard_event"] for one in caplog.records if one.levelname == "ERROR"
        ]
        assert (event.tenant, event.action) == ("globex", "failed")
        assert await said(client, BOOK, bearer(ACME)) == ACMES  # nobody else's concern


async def test_what_cannot_be_kept_for_one_tenant_does_not_start(
    start: Start, whole: Bundle
) -> None:
    records = []
    for target in whole.manifest.targets:
        if target.id == "brennick":
            (refuse,) = target.interventions
            corrupt = refuse.model_copy(
                update={"kind": "corrupt", "options": {}, "data": {"entities": []}}
            )
            other = target.per_tenant["globex"].model_copy(
                update={"mode": "enforce", "interventions": [corrupt]}
            )
            target = target.model_copy(update={"per_tenant": {"globex": other}})
        records.append(target)
    manifest = whole.manifest.model_copy(update={"targets": records})
    guard = Guard(replace(whole, manifest=manifest))
    with pytest.raises(EngineError, match="target brennick: 'corrupt' cannot be done over HTTP"):
        await start(guard)
    async with await start(guard, instead=True) as client:
        refusal = RefuseOptions().message  # in place of what HTTP cannot do
        assert await said(client, PERSON, bearer(GLOBEX)) == refusal


def test_a_client_asks_for_whom_its_program_says(tenants: Guard, fake: Fake) -> None:
    upstream = httpx.ASGITransport(app=fake)
    client = GuardedClient(
        "http://upstream/v1", guard=tenants, upstream=upstream, api_key="sk-unknown"
    )

    def ask() -> str:
        answer = client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": PERSON}]
        )
        return answer.choices[0].message.content or ""

    assert ask() == REFUSAL
    with as_tenant("globex"):
        assert ask() == fake.text
        with as_tenant("acme"):
            assert ask() == REFUSAL
    assert ask() == REFUSAL
