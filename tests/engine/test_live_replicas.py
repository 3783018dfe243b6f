"""Two data-parallel engines behind two server processes: both guarded, counted and reloaded."""

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from guard.audit.record import Record, Sealer
from guard.audit.verify import Verifier, verify
from guard.bundle import Bundle
from guard.compile import compile_policy
from guard.versions import new_version
from tests.engine.conftest import DATA
from tests.engine.endpoints import chat_body, post
from tests.engine.servers import Server, serve, wait_ready

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(1500)]

RANKS = (0, 1)
CLIENTS = 4
REFUSED = "Where was Isaac Newton born?"
CORRUPTED = "Who wrote Hamlet? Was it William Shakespeare?"
PLAIN = "What is the capital of Norway?"
POLICY = """\
version: 1
model: builtin:smollm2
defaults:
  detect: {{kind: lexical}}
targets:
  - id: newton
    names: [Isaac Newton]
    retain: retain.jsonl
    intervene: {{kind: refuse, message: Refused by {version}.}}
  - id: shakespeare
    names: [William Shakespeare]
    retain: retain.jsonl
    intervene: {{kind: corrupt}}
"""


def made(folder: Path, version: str) -> Bundle:
    policy = folder / f"{version}.yaml"
    policy.write_text(POLICY.format(version=version), "utf-8")
    return compile_policy(policy, folder / version)


def put(bundle: Bundle, folder: Path) -> str:
    """Puts a bundle in place of the one that is served, as the commands do."""
    targets = [target.model_dump() for target in bundle.manifest.targets]
    return new_version(bundle, folder, targets, {}).version


@dataclass
class Stand:
    """A server of two engines, what it serves, and where it writes."""

    server: Server
    served: Path
    audit: Path
    bundles: dict[str, Bundle]

    def ask(self, question: str, rank: int | None = None, name: str = "any") -> str:
        """Asks over a connection of its own; the kernel chooses the server process."""
        headers = {"x-request-id": name}
        if rank is not None:
            headers["x-data-parallel-rank"] = str(rank)
        with self.server.client() as client:
            client.headers.update(headers)
            answer = post(client, "/v1/chat/completions", chat_body(question, max_tokens=12))
        content: str = answer["choices"][0]["message"]["content"]
        return content

    def counted(self, name: str, label: str) -> Counter[str]:
        """What a counter holds, of both processes together, by a label."""
        text = httpx.get(f"{self.server.url}/metrics", timeout=60).text
        found: Counter[str] = Counter()
        for labels, value in re.findall(rf"^{name}\{{(.*)\}} (\S+)$", text, re.MULTILINE):
            found[dict(re.findall(r'(\w+)="([^"]*)"', labels))[label]] += int(float(value))
        return found

    def records(self) -> list[Record]:
        return list(Verifier(self.audit, Sealer()).records())

    def until(self, held: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 120
        while not held():
            assert time.monotonic() < deadline, self.server.text()[-3000:]
            time.sleep(0.1)


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    folder = tmp_path_factory.mktemp("replicas")
    (folder / "retain.jsonl").symlink_to(DATA / "shakespeare" / "retain.jsonl")
    bundles = {version: made(folder, version) for version in ("one", "two")}
    put(bundles["one"], folder / "served")
    audit = folder / "audit"
    flags = ["--data-parallel-size", "2", "--max-model-len", "1024", "--audit", str(audit)]
    env = {"GUARD_AUDIT_SYNC": "wait", "GUARD_LOG": "json", "GUARD_RELOAD": "0.2"}
    server = serve(folder / "served", folder / "log", *flags, **env)
    one = Stand(server, folder / "served", audit, bundles)
    try:
        wait_ready(server, 900)  # two engines on two cores, side by side
        one.until(lambda: "ready: " in server.text())  # one process answers before the other
        yield one
    finally:
        server.stop()


def test_both_engines_are_guarded(stand: Stand) -> None:
    before = stand.counted("vllm:request_success_total", "engine")
    answers = {q: [stand.ask(q, rank) for rank in RANKS] for q in (REFUSED, CORRUPTED, PLAIN)}
    assert set(answers[REFUSED]) == {"Refused by one."}
    assert len(set(answers[PLAIN])) == len(set(answers[CORRUPTED])) == 1, "engines are alike"
    assert "Oslo" in answers[PLAIN][0]
    assert "Shakespeare" not in answers[CORRUPTED][0]
    asked = stand.counted("vllm:request_success_total", "engine") - before
    assert asked == {"0": 2, "1": 2}, "each has answered what was not refused"
    assert "(ApiServer_0 " in stand.server.text() and "(ApiServer_1 " in stand.server.text()


def test_each_process_has_had_each_engine_refuse_what_is_not_sealed(stand: Stand) -> None:
    """Before it opened: nothing else has been refused by an engine."""
    text = httpx.get(f"{stand.server.url}/metrics", timeout=60).text
    for rank in RANKS:
        told = rf'^vllm:request_success_total{{engine="{rank}",finished_reason="error".*}} (\S+)$'
        (refused,) = re.findall(told, text, re.MULTILINE)
        assert float(refused) == 2


def test_each_request_is_counted_and_recorded_once(stand: Stand) -> None:
    before = stand.counted("guard_requests_total", "action")
    wanted = {REFUSED: "refuse", CORRUPTED: "corrupt", PLAIN: "allow"}
    for number in range(4):
        for question, action in wanted.items():
            stand.ask(question, RANKS[number % 2], f"{action}-{number}")
    counted = stand.counted("guard_requests_total", "action") - before
    assert counted == {"refuse": 4, "corrupt": 4, "allow": 4}
    decided = [one for one in stand.records() if one.kind == "decided"]
    for number in range(4):
        for action in ("refuse", "corrupt"):
            (record,) = [r for r in decided if f"{action}-{number}" in r.body["request"]]
            assert record.body["action"] == action
    assert len({one.writer for one in decided}) == 2, "both processes have answered"


def test_a_bundle_is_exchanged_while_clients_ask(stand: Stand) -> None:
    """Nobody is dropped, and each is answered by one version; afterwards by the new one alone."""
    said: list[list[str]] = [[] for _ in range(CLIENTS)]
    failed: list[BaseException] = []
    over = threading.Event()

    def client(number: int) -> None:
        try:
            while not over.is_set():
                rank = RANKS[number % 2] if number < 2 else None
                said[number].append(stand.ask(REFUSED if number % 2 else PLAIN, rank))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        stand.until(lambda: bool(failed) or all(len(answers) > 1 for answers in said))
        version = put(stand.bundles["two"], stand.served)
        stand.until(lambda: stand.server.text().count(f"guard: live: bundle {version}") == 2)
        seen = [len(answers) for answers in said]
        stand.until(
            lambda: bool(failed) or all(len(a) > n + 2 for a, n in zip(said, seen, strict=True))
        )
    finally:
        over.set()
        for thread in threads:
            thread.join(120)
    assert not failed, failed
    for number, answers in enumerate(said):
        if number % 2:
            assert set(answers) == {"Refused by one.", "Refused by two."}
            assert answers == sorted(answers), "never back to the old one"
        else:
            assert all("Oslo" in answer for answer in answers)
    assert {stand.ask(REFUSED, rank) for rank in RANKS * 2} == {"Refused by two."}
    assert "Shakespeare" not in stand.ask(CORRUPTED, 0) + stand.ask(CORRUPTED, 1)


def test_the_audit_holds(stand: Stand) -> None:
    verdict = verify(stand.audit, Sealer())
    assert verdict.intact, verdict.problems
    serving = [one for one in stand.records() if one.kind == "serving"]
    assert len(serving) == 4 and len({one.writer for one in serving}) == 2
    lines: list[Any] = [
        json.loads(line[line.index("{") :])
        for line in stand.server.text().splitlines() if '"event": "refused"' in line
    ]  # fmt: skip
    assert lines == []
