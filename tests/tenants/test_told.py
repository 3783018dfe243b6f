"""What is told of tenants: in an export of the audit, in spans, and by the admin API."""

import json
import shutil
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from guard.admin.start import Settings, prepare
from guard.audit.record import Sealer
from guard.bundle import Bundle
from guard.cli import main
from guard.events import Decided, Event, Serving
from guard.spans import record_span
from guard.tenants import hashed
from tests.admin.conftest import BEARER, TOKENS
from tests.audit.test_export import DAY, noticed, write
from tests.tenants.bundles import ACME, BOOK, tenanted
from tests.test_spans import exporter, named

__all__ = ["exporter"]  # a fixture

MODES = {"ann": {"acme": "enforce", "globex": "shadow"}}
HISTORY: list[tuple[float, Event]] = [
    (1, Serving("b1", {"ann": "enforce"}, {"ann": "request"}, None, DAY)),
    (2, Decided("r1", "b1", "refuse", noticed("enforce"), time=2 * DAY, tenant="acme")),
    (3, Decided("r2", "b1", "refuse", noticed("enforce"), time=3 * DAY)),
    (4, Serving("b2", {"ann": "enforce"}, {"ann": "request"}, "b1", 4 * DAY, MODES)),
    (5, Decided("r3", "b2", "allow", noticed("shadow"), time=5 * DAY, tenant="globex")),
    (6, Decided("r4", "b2", "refuse", noticed("enforce"), time=6 * DAY, tenant="acme")),
]


def test_an_export_counts_by_tenant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GUARD_AUDIT_KEY", raising=False)
    write(tmp_path / "audit", HISTORY, Sealer(None))
    command = ["audit", "export", str(tmp_path / "audit"), "--target", "ann"]
    out, page = tmp_path / "out.json", tmp_path / "out.md"
    assert main([*command, "--json", str(out), "--markdown", str(page)]) == 0
    told = json.loads(out.read_text())["targets"]["ann"]
    assert told["tenants"] == MODES["ann"]
    assert told["requests"] == [
        {"mode": "enforce", "action": "refuse", "count": 1},
        {"mode": "enforce", "action": "refuse", "tenant": "acme", "count": 2},
        {"mode": "shadow", "action": "refuse", "tenant": "globex", "count": 1},
    ]
    text = page.read_text("utf-8")
    assert "but for tenants: acme: enforce, globex: shadow" in text
    assert "| shadow | refuse | globex | 1 |" in text and "| enforce | refuse | – | 1 |" in text


def test_a_span_says_whose_request_it_is(exporter: object) -> None:
    record_span(Decided("r", "b1", "allow", tenant="acme"))
    record_span(Decided("r", "b1", "allow"))
    spans = named(exporter)  # type: ignore[arg-type]
    assert "guard.tenant" not in (spans["guard.decide"].attributes or {})  # the latter's
    finished = exporter.get_finished_spans()  # type: ignore[attr-defined]
    assert finished[0].attributes["guard.tenant"] == "acme"


@pytest.fixture
def client(tenants_bundle: Bundle, tmp_path: Path) -> TestClient:
    own = Path(shutil.copytree(tenants_bundle.path, tmp_path / "bundle"))
    policy = tenanted(tmp_path / "policy", brennick="{check: exact, on_hit: answer, answer: No.}")
    return TestClient(prepare(Settings(own, policy), TOKENS), headers=BEARER)


def test_the_admin_api_shows_and_keeps_them(client: TestClient) -> None:
    with client:
        states = {one["id"]: one for one in client.get("/guard/targets").json()["targets"]}
        assert states["brennick"]["tenants"] == {"acme": "enforce", "globex": "shadow"}
        assert states["vessmere"]["tenants"] == {"acme": "enforce", "globex": "off"}
        assert states["tidewater"]["tenants"] == {}
        assert hashed(ACME).partition(":")[2] not in client.get("/guard/targets").text
        reply = client.put("/guard/targets/tidewater/mode", json={"mode": "enforce"})
        assert reply.status_code == 200 and reply.json()["changed"]
        kept = {one["id"]: one for one in client.get("/guard/targets").json()["targets"]}
        assert kept["brennick"] == states["brennick"] and kept["vessmere"] == states["vessmere"]


def test_the_admin_api_tries_texts_for_a_tenant(client: TestClient) -> None:
    with client:
        found = {}
        for tenant in (None, "acme", "globex"):
            reply = client.post("/guard/check", json={"texts": [BOOK], "tenant": tenant})
            found[tenant] = reply.json()["decisions"][0]["action"]
        assert found == {None: "refuse", "acme": "refuse", "globex": "allow"}
        reply = client.post("/guard/check", json={"texts": [BOOK], "tenant": "initech"})
        assert reply.status_code == 400
        assert "has no tenant 'initech'" in reply.json()["error"]["message"]


def test_a_target_is_posted_for_tenants_that_there_are(client: TestClient) -> None:
    with client:
        body = {"names": ["Wilhelmina Oakenshade"], "retain": [{"question": "Who is Piet?"}]}
        reply = client.put("/guard/targets/new", json={**body, "tenants": ["initech"]})
        assert reply.status_code == 400, reply.text
        assert "the bundle has no tenant 'initech'" in reply.json()["error"]["message"]
