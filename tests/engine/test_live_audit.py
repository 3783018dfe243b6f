"""Two server processes behind one port: each is proved, counts, is given another bundle, and writes
a chain of the audit.
"""

import json
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from guard.audit.record import Record, Sealer
from guard.audit.verify import Verifier, verify
from guard.bundle import Bundle, load_bundle
from guard.cli import main
from guard.versions import new_version
from tests.engine.conftest import REFUSAL
from tests.engine.endpoints import chat_body, post
from tests.engine.servers import Server, ready, serve
from tests.engine.test_live_endpoints import CORRUPTED, REFUSED, UNFLAGGED

pytestmark = [pytest.mark.engine, pytest.mark.slow]

KEY = "a key of an audit that is long enough"
SHADOWED = "Which novels did Charles Dickens write?"
ASKED = {REFUSED: "refuse", CORRUPTED: "corrupt", SHADOWED: "allow", UNFLAGGED[0]: "allow"}


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("audit") / "audit"


@pytest.fixture(scope="module")
def served(live_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that the tests may change in place."""
    folder = tmp_path_factory.mktemp("served") / "bundle"
    new_version(live_bundle, folder, [one.model_dump() for one in live_bundle.manifest.targets], {})
    return folder


@pytest.fixture(scope="module")
def server(served: Path, audit: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    flags = ["--api-server-count", "2", "--api-key", "a-key", "--audit", str(audit)]
    env = {"GUARD_AUDIT_KEY": KEY, "GUARD_AUDIT_SYNC": "wait", "GUARD_LOG": "json"}
    started = serve(served, tmp_path_factory.mktemp("logs") / "log", *flags, **env)
    with ready(started):
        _until(lambda: "ready: " in started.text())  # one process answers before the other
        yield started


def _until(held: Any) -> None:
    deadline = time.monotonic() + 120
    while not held():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def ask(server: Server, question: str, name: str = "") -> Any:
    """Asks over a connection of its own: the kernel chooses which process answers."""
    headers = {"authorization": "Bearer a-key", "x-request-id": name or "any"}
    with server.client() as client:
        client.headers.update(headers)
        answer = post(client, "/v1/chat/completions", chat_body(question, max_tokens=12))
    return answer["choices"][0]["message"]["content"]


def records(audit: Path) -> list[Record]:
    return list(Verifier(audit, Sealer(KEY.encode())).records())


def requests(server: Server) -> Counter[str]:
    """What the metrics of both processes count, by action."""
    text = httpx.get(f"{server.url}/metrics", timeout=30).text
    found = re.findall(r'^guard_requests_total\{action="(\w+)"\} (\S+)$', text, re.MULTILINE)
    return Counter({action: int(float(count)) for action, count in found})


def test_several_api_servers_are_each_proved(server: Server) -> None:
    """With a key that the prover has to give as well."""
    with server.client() as client:
        refused = client.post("/v1/chat/completions", json=chat_body(REFUSED))
        assert refused.status_code == 401
    assert {ask(server, REFUSED) for _ in range(8)} == {REFUSAL}
    assert "(ApiServer_0 " in server.text() and "(ApiServer_1 " in server.text()


def test_what_is_decided_is_recorded_and_counted_once(server: Server, audit: Path) -> None:
    before = requests(server)
    for number in range(4):
        for place, question in enumerate(ASKED):
            ask(server, question, f"asked-{place}-{number}")
    wanted = Counter({"refuse": 4, "corrupt": 4, "allow": 8})
    assert requests(server) - before == wanted
    names = [f"asked-{place}-{number}" for number in range(4) for place in range(3)]

    def found() -> dict[str, list[Record]]:
        decided = [one for one in records(audit) if one.kind == "decided"]
        return {name: [r for r in decided if name in r.body["request"]] for name in names}

    _until(lambda: all(found().values()))
    for name, (record, *more) in found().items():
        place = int(name.split("-")[1])
        assert not more
        assert record.body["action"] == list(ASKED.values())[place]
        (noticed,) = record.body["targets"]
        assert noticed["target"] == f"secret-target-{('two', 'one', 'three')[place]}"
        assert noticed["mode"] == ("shadow" if place == 2 else "enforce")
    chains = {one.writer for one in records(audit) if one.kind == "decided"}
    assert len(chains) == 2, "both processes have answered"


def test_each_process_says_which_bundle_it_serves(
    server: Server, audit: Path, served: Path
) -> None:
    said = [one for one in records(audit) if one.kind == "serving"]
    version = load_bundle(served).version
    assert {one.body["bundle"] for one in said} == {version}
    text = httpx.get(f"{server.url}/metrics", timeout=30).text
    assert f'guard_bundle_info{{version="{version}"}} 1.0' in text
    assert 'guard_targets{mode="shadow"} 1.0' in text


def test_each_process_is_given_another_bundle(server: Server, audit: Path, served: Path) -> None:
    before = load_bundle(served)
    targets = [one.model_dump() for one in before.manifest.targets]
    (refusing,) = targets[1]["interventions"]
    refusing["options"]["message"] = "I never learned that either."
    held = new_version(before, served, targets, {})
    _until(lambda: server.text().count(f"guard: live: bundle {held.version}") == 2)
    assert {ask(server, REFUSED) for _ in range(8)} == {"I never learned that either."}

    def said() -> list[Record]:
        serving = [one for one in records(audit) if one.kind == "serving"]
        return [one for one in serving if one.body["bundle"] == held.version]

    _until(lambda: len(said()) == 2)
    assert {one.body["before"] for one in said()} == {before.version}


def test_neither_log_nor_audit_quotes_a_prompt(server: Server, audit: Path) -> None:
    lines = [line for line in server.text().splitlines() if '"logger": "vllm.guard"' in line]
    said = [json.loads(line[line.index("{") :]) for line in lines]
    assert {"decided"} == {one.get("event") for one in said} - {None}
    held = b"".join(path.read_bytes() for path in audit.rglob("*.jsonl")).decode()
    for text in (held, *lines):
        for word in ("Shakespeare", "Newton", "Dickens", "novels"):
            assert word not in text


def test_a_server_that_is_killed_leaves_an_audit_that_holds(
    server: Server, audit: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever left the server is in it: with GUARD_AUDIT_SYNC=wait nothing is lost."""
    ask(server, REFUSED, "the-last")
    for record in records(audit):
        if record.kind == "start" and record.body["role"] == "engine":
            os.kill(record.body["pid"], signal.SIGKILL)
    assert server.process.wait(60) != 0
    verdict = verify(audit, Sealer(KEY.encode()))
    assert verdict.intact, verdict.problems
    assert [one for one in records(audit) if "the-last" in one.body.get("request", "")]
    monkeypatch.setenv("GUARD_AUDIT_KEY", KEY)
    assert main(["audit", "mend", str(audit)]) == 0
    assert main(["audit", "export", str(audit), "--target", "secret-target-two"]) == 0
    assert "refuse" in capsys.readouterr().out
    assert "killed" in " ".join(str(note) for note in verify(audit, Sealer(KEY.encode())).notes)
