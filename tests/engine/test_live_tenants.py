"""Tenants of one guarded server, told apart by their keys on every route and in each process."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from guard.audit.record import Record, Sealer
from guard.audit.verify import Verifier
from guard.cli import main
from guard.compile import compile_policy
from guard.tenants import hashed
from tests.engine.conftest import DATA, REFUSAL
from tests.engine.endpoints import ENDPOINTS, chat_body, completion_body, post
from tests.engine.servers import Server, ready, serve, wait_ready

pytestmark = [pytest.mark.engine, pytest.mark.slow]

SHADOW, ENFORCE, OTHER = (f"sk-{name}-{'0' * 40}" for name in ("globex", "acme", "nobody"))
OURS = "Our contract does not cover that."
NEWTON = "What did Isaac Newton discover?"
HAMLET = "What is a play by William Shakespeare?"

# The shadow tenant's key comes first: it is the one that the server is proved with.
POLICY = f"""\
version: 1
model: builtin:smollm2
defaults:
  detect: {{kind: lexical}}
tenants:
  - id: globex
    keys: [{hashed(SHADOW)}]
  - id: acme
    keys: [{hashed(ENFORCE)}]
targets:
  - id: target-one
    names: [Isaac Newton]
    retain: {DATA}/newton/retain.jsonl
    intervene: {{kind: refuse, message: {json.dumps(REFUSAL)}}}
    per_tenant:
      globex: {{mode: shadow}}
  - id: target-two
    names: [William Shakespeare]
    retain: {DATA}/shakespeare/retain.jsonl
    tenants: [acme]
    intervene: {{kind: corrupt}}
    per_tenant:
      acme: {{intervene: {{kind: refuse, message: {OURS}}}}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tenants")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    (folder / "policy.yaml").write_text(POLICY, "utf-8")
    bundle = compile_policy(folder / "policy.yaml", folder / "bundle")
    flags = ["--api-server-count", "2", "--audit", str(folder / "audit")]
    keys = ["--api-key", SHADOW, ENFORCE, OTHER]
    env = {"GUARD_AUDIT_SYNC": "wait", "GUARD_LOG": "json"}
    started = serve(bundle.path, folder / "log", *flags, *keys, **env)
    wait_ready(started, 420)  # two processes that start take their time on a busy machine
    with ready(started):
        deadline = time.monotonic() + 120
        while "ready: " not in started.text():  # one process answers before the other
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield started


def client(server: Server, key: str, **headers: str) -> httpx.Client:
    shown = {"authorization": f"Bearer {key}", **headers}
    return httpx.Client(base_url=server.url, timeout=120, headers=shown)


def said(server: Server, key: str, question: str, **headers: str) -> str:
    with client(server, key, **headers) as asking:
        answer = post(asking, "/v1/chat/completions", chat_body(question, max_tokens=16))
    text: str = answer["choices"][0]["message"]["content"]
    return text


@pytest.mark.parametrize("name", ENDPOINTS)
def test_each_route_tells_tenants_apart(server: Server, name: str) -> None:
    for key, refused in ((ENFORCE, True), (SHADOW, False), (OTHER, True)):
        with client(server, key) as asking:
            texts = ENDPOINTS[name](asking, NEWTON)
        assert texts and all((text == REFUSAL) is refused for text in texts), (key, texts)


def test_a_target_stands_for_those_that_it_names_and_for_nobody(server: Server) -> None:
    assert said(server, ENFORCE, HAMLET) == OURS
    assert said(server, OTHER, HAMLET) == OURS  # the strictest that anybody has
    assert said(server, SHADOW, HAMLET) not in (OURS, REFUSAL)


def test_no_header_or_field_makes_a_tenant(server: Server) -> None:
    for headers in (
        {"x-tenant": "globex", "x-guard-tenant": "globex", "tenant": "globex"},
        {"x-api-key": SHADOW},  # vLLM does not ask for it: it proves nothing
        {"openai-organization": "globex", "openai-project": "globex"},
    ):
        for key in (ENFORCE, OTHER):
            assert said(server, key, NEWTON, **headers) == REFUSAL
    fields = {
        "user": "globex",
        "metadata": {"tenant": "globex"},
        "vllm_xargs": {"tenant": "globex"},
    }
    for key in (ENFORCE, OTHER):
        with client(server, key) as asking:
            body = chat_body(NEWTON, **fields)
            answer = post(asking, "/v1/chat/completions", body)
            assert answer["choices"][0]["message"]["content"] == REFUSAL


def test_two_keys_are_nobodys(server: Server) -> None:
    for keys in ((OTHER, SHADOW), (SHADOW, OTHER), (SHADOW, SHADOW)):
        headers = [("authorization", f"Bearer {key}") for key in keys]
        response = httpx.post(
            f"{server.url}/v1/completions",
            json=completion_body(NEWTON),
            headers=headers,
            timeout=120,
        )
        assert response.status_code == 200, response.text
        assert response.json()["choices"][0]["text"] == REFUSAL


def test_without_a_key_everything_is_enforced_where_no_key_is_asked_for(server: Server) -> None:
    asked = chat_body(NEWTON)
    answer = httpx.post(f"{server.url}/invocations", json=asked, timeout=120).json()
    assert answer["choices"][0]["message"]["content"] == REFUSAL
    assert httpx.post(f"{server.url}/v1/chat/completions", json=asked).status_code == 401


def records(folder: Path) -> list[Record]:
    return [record for record in Verifier(folder / "audit", Sealer()).records()]


def test_the_audit_says_whose_requests_they_were(server: Server, folder: Path) -> None:
    for key, name in ((ENFORCE, "of-acme"), (SHADOW, "of-globex"), (OTHER, "of-none")):
        said(server, key, NEWTON, **{"x-request-id": name})
    told: dict[str, Any] = {}
    for record in records(folder):
        for name in ("of-acme", "of-globex", "of-none"):
            if record.kind == "decided" and record.body["request"].endswith(name):
                (noticed,) = record.body["targets"]
                told[name] = record.body.get("tenant"), record.body["action"], noticed["mode"]
    assert told == {
        "of-acme": ("acme", "refuse", "enforce"),
        "of-globex": ("globex", "allow", "shadow"),
        "of-none": (None, "refuse", "enforce"),
    }
    served = [one.body for one in records(folder) if one.kind == "serving"]
    assert len(served) == 2  # by both processes
    for body in served:
        assert body["tenants"]["target-one"] == {"globex": "shadow", "acme": "enforce"}


def test_a_key_that_is_taken_away_is_nobodys_without_a_restart(
    server: Server, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(server, SHADOW, NEWTON) != REFUSAL
    changed = POLICY.replace(hashed(SHADOW), hashed("sk-new-" + "0" * 40))
    (folder / "policy.yaml").write_text(changed, "utf-8")
    bundle, policy = str(folder / "bundle"), str(folder / "policy.yaml")
    assert main(["tenants", "set", "--bundle", bundle, "--policy", policy]) == 0
    deadline = time.monotonic() + 30
    while any(said(server, SHADOW, NEWTON) != REFUSAL for _ in range(8)):  # by either process
        assert time.monotonic() < deadline
        time.sleep(0.5)


def test_no_key_is_written_anywhere(server: Server, folder: Path) -> None:
    metrics = httpx.get(f"{server.url}/metrics").text
    audit = "".join(file.read_text("utf-8") for file in (folder / "audit").rglob("*.jsonl"))
    log = server.text()
    assert "target-one" in metrics and "globex" in audit and "globex" in log
    for key in (SHADOW, ENFORCE, OTHER):
        for held in (key, hashed(key).partition(":")[2]):
            assert held not in metrics and held not in audit and held not in log
