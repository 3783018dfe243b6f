"""What happens, over HTTP: from audit, bundle and servers, and nothing of what was asked."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from guard.admin.endpoints import read_metrics
from guard.admin.feed import Feed
from guard.audit.folder import segments
from guard.bundle import Bundle, load_bundle
from guard.detectors.heldout import SIDES
from tests.admin import living
from tests.admin.conftest import Make
from tests.audit.test_chain import told
from tests.material import PERSON, PERSON_NEIGHBOURS, PERSON_ROWS, UNRELATED


def eventually(holds: Callable[[], bool]) -> None:
    """The audit is written by a thread of its own."""
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, "it never held"
        time.sleep(0.02)


def events(client: TestClient, after: int = 0) -> dict[str, Any]:
    value: dict[str, Any] = client.get(f"/guard/decisions?after={after}").json()
    return value


def test_texts_are_decided_as_by_the_command(client: TestClient, guard: Any, audit: Path) -> None:
    texts = [f"Who is {PERSON}?", UNRELATED[0]]
    reply = client.post("/guard/check", json={"texts": texts})
    assert reply.json()["decisions"] == [guard.decide(text).to_dict() for text in texts]
    assert not list(audit.rglob("*.jsonl")), "nothing of it is recorded"


def test_the_newest_version_decides(client: TestClient) -> None:
    text = {"texts": ["Who signed the Tidewater Compact?"]}
    assert client.post("/guard/check", json=text).json()["decisions"][0]["action"] == "allow"
    client.put("/guard/targets/tidewater/mode", json={"mode": "enforce"})
    assert client.post("/guard/check", json=text).json()["decisions"][0]["action"] == "refuse"


def test_an_answer_is_read_where_answers_are_checked(
    client: TestClient, tmp_path: Path, make: Make
) -> None:
    body = {"answer": f"{PERSON} was born in Skarvik.", "question": ""}
    reply = client.post("/guard/check/answer", json=body)
    assert reply.status_code == 400 and "checks no answers" in reply.json()["error"]["message"]


def test_events_come_once_the_latest_first(client: TestClient, audit: Path, bundle: Bundle) -> None:
    record = living.recorder(audit)
    record(living.decided(1))
    eventually(lambda: len(events(client)["events"]) == 1)
    first = events(client)
    assert first["audited"] and first["events"][0]["request"] == "cmpl-000001"
    assert events(client, first["newest"])["events"] == []
    record(living.decided(2, "tidewater", "shadow"))
    client.delete("/guard/targets/brennick")
    eventually(lambda: len(events(client, first["newest"])["events"]) == 2)
    kinds = {one["kind"]: one for one in events(client, first["newest"])["events"]}
    assert kinds["changed"]["who"] == "alex" and kinds["decided"]["action"] == "allow"
    numbers = [one["number"] for one in events(client)["events"]]
    assert numbers == sorted(numbers, reverse=True) and len(set(numbers)) == 3
    assert len(client.get("/guard/decisions?limit=1").json()["events"]) == 1
    record.close()


def test_a_cursor_of_an_earlier_process_starts_anew(client: TestClient, audit: Path) -> None:
    record = living.recorder(audit)
    record(living.decided(1))
    eventually(lambda: len(events(client, 10_000)["events"]) == 1)
    record.close()


def test_counts_and_margins(client: TestClient, audit: Path, bundle: Bundle) -> None:
    record = living.recorder(audit)
    living.past(record, bundle)
    record.close()  # which tells the tally
    found = client.get("/guard/counts").json()
    assert found["audited"] and found["since"]
    assert found["requests"] == {"refuse": 25, "allow": 50, "failed": 1}
    assert {"target": "tidewater", "mode": "shadow", "action": "corrupt", "count": 25} in found[
        "targets"
    ]
    assert found["hits"] == [
        {"target": "vessmere", "check": "exact", "action": "rollback", "count": 1}
    ]
    detect = found["stages"]["detect"]
    assert detect["count"] == 50 and detect["p50"] < detect["p95"] < detect["p99"] <= 5760
    margins = client.get("/guard/targets/brennick/scores").json()["margins"]
    assert (
        sum(margins.values()) == 25
        and margins["4"] == 1
        and set(margins) <= {f"{step / 4:g}" for step in range(17)}
    )


def test_without_an_audit_it_says_so(make: Make) -> None:
    client = make()
    assert client.get("/guard/counts").json()["audited"] is False
    assert events(client)["audited"] is False
    assert client.get("/guard/servers").json()["audited"] is False
    assert client.get("/guard/targets/brennick/scores").json()["margins"] is None
    assert "--audit" in client.get("/guard/audit").json()["error"]["message"]
    assert client.get("/guard/status").json()["features"]["audit"] is False


def test_scores_count_rows_and_quote_none(client: TestClient, bundle: Bundle) -> None:
    reply = client.get("/guard/targets/brennick/scores")
    found = reply.json()
    record = next(one for one in bundle.manifest.targets if one.id == "brennick")
    assert [one["detector"] for one in found["stages"]] == [one.kind for one in record.stages]
    for stage, held in zip(found["stages"], record.stages, strict=True):
        assert stage["threshold"] == held.threshold and stage["floor"] == held.floor
        assert len(stage["edges"]) == len(stage["counts"]["forget"]) + 1
        for name, side in zip(("forget", "retain", "everyday"), SIDES, strict=True):
            scores = bundle.arrays[held.scores[side]]
            assert sum(stage["counts"][name]) + stage["unscored"][name] == len(scores)
            if held.threshold is not None:
                assert stage["reached"][name] == sum(scores >= held.threshold)
    assert found["stages"][0]["rows"]["forget"] == len(PERSON_ROWS)
    assert found["stages"][0]["rows"]["retain"] == len(PERSON_NEIGHBOURS)
    assert "Odalys" not in reply.text
    assert client.get("/guard/targets/nobody/scores").status_code == 404


def test_processes_say_what_they_serve(client: TestClient, audit: Path, own: Path) -> None:
    one, two = living.recorder(audit), living.recorder(audit)
    one.serving(load_bundle(own))
    two.serving(load_bundle(own))
    before = load_bundle(own).version
    client.put("/guard/targets/tidewater/mode", json={"mode": "enforce"})
    two.serving(load_bundle(own))

    def served() -> list[str]:
        found = client.get("/guard/servers").json()
        return [process["bundle"] for process in found["processes"] if not process["ended"]]

    eventually(lambda: sorted(served()) == sorted([before, load_bundle(own).version]))
    one.close()
    eventually(lambda: served() == [load_bundle(own).version])
    found = client.get("/guard/servers").json()
    assert found["version"] == load_bundle(own).version
    (newest,) = (process for process in found["processes"] if not process["ended"])
    assert newest["role"] == "engine" and newest["modes"]["tidewater"] == "enforce"
    two.close()


def test_a_process_of_long_ago_is_found(tmp_path: Path, bundle: Bundle) -> None:
    """Its chain has gone on into other files since, of which the latest are read."""
    from guard.audit.chain import Chain
    from guard.audit.record import Sealer

    serving = {"bundle": bundle.version, "modes": {"brennick": "enforce"}}
    for process in (1, 2):
        start = (1.0, "start", {"role": "engine", "pid": process})
        chain = Chain.open(tmp_path, "host", Sealer(), start, segment_bytes=500)
        chain.append([(2.0, "serving", serving)])
        for number in range(15):
            chain.append([(3.0 + number, "decided", {"action": "refuse", "process": process})])
        chain.close()
    assert len(segments(tmp_path / "host-1")) > 10
    feed = Feed(tmp_path)
    feed.poll()
    feed.poll()
    assert [(one["pid"], one["bundle"]) for one in feed.processes()] == [(2, bundle.version)]
    assert {one["process"] for one in feed.events} == {2} and 4 <= len(feed.events) < 15


def test_endpoints_tell_how_they_are(make: Make, own: Path) -> None:
    version = load_bundle(own).version
    client = make(living.answering(version), endpoints=[f"{living.ENDPOINT}/v1/"])
    (found,) = client.get("/guard/servers").json()["endpoints"]
    assert found["healthy"] and found["versions"] == [version] and found["url"] == living.ENDPOINT
    assert found["requests"] == {"allow": 1200}
    detect = found["stages"]["detect"]
    assert detect["count"] == 1200 and 600 < detect["p50"] < 700
    assert 1000 < detect["p95"] < 10_000 and detect["p99"] is None, "behind the last bucket"


def test_endpoints_that_do_not_answer(make: Make) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "gone":
            raise httpx.ConnectError("refused")
        if request.url.host == "other":
            return httpx.Response(200, text="guard_requests_total{")
        return httpx.Response(503)

    urls = ["http://gone", "http://other", "http://ill"]
    client = make(httpx.MockTransport(answer), endpoints=urls)
    gone, other, ill = client.get("/guard/servers").json()["endpoints"]
    assert "ConnectError" in gone["error"] and not gone["healthy"]
    assert "none of Prometheus" in other["error"]
    assert "503" in ill["error"] and not ill["healthy"]


def test_metrics_of_somebody_else_are_none() -> None:
    assert read_metrics("up 1\n") == {"versions": [], "requests": {}, "stages": {}}


def test_the_audit_is_verified(client: TestClient, audit: Path) -> None:
    client.delete("/guard/targets/brennick")
    assert client.get("/guard/audit").json()["intact"] is True
    (file,) = audit.rglob("*.jsonl")
    file.write_text(file.read_text().replace("removed", "changed"))
    found = client.get("/guard/audit").json()
    assert found["intact"] is False and found["problems"]


def test_the_leakage_report(make: Make, tmp_path: Path) -> None:
    file = tmp_path / "leakage.json"
    file.write_text(json.dumps(living.LEAKAGE))
    client = make(leakage=file)
    found = client.get("/guard/leakage").json()
    assert found["file"] == "leakage.json" and found["suite"] == "tofu"
    assert len(found["rows"]) == 4 and found["rows"][-1]["attack"] == "base64"
    file.write_text("{}")
    assert client.get("/guard/leakage").status_code == 503
    assert make().get("/guard/leakage").status_code == 404


def test_both_models_are_asked_and_who_asked_is_recorded(
    make: Make, audit: Path, own: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "guard")
    client = make(
        living.answering("v"), audit=audit, guarded=living.GUARDED, unguarded=living.UNGUARDED
    )
    question = {"prompt": f"Where was {PERSON} born?"}
    found = client.post("/guard/ask", json=question).json()
    assert found["unguarded"]["text"] == living.LEARNED
    assert "nothing" in found["guarded"]["text"] and found["guarded"]["error"] is None
    (asked,) = (record for record in told(audit) if record.kind == "asked")
    assert asked.body == {"who": "alex"}
    written = "".join(file.read_text() for file in audit.rglob("*.jsonl"))
    assert "Odalys" not in written + caplog.text and "Skarvik" not in written + caplog.text


def test_the_keys_go_to_their_own_servers(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUARD_GUARDED_KEY", "key-one")
    monkeypatch.setenv("GUARD_UNGUARDED_KEY", "key-two")
    seen: dict[str, set[str]] = {}

    def answer(request: httpx.Request) -> httpx.Response:
        seen.setdefault(request.url.host, set()).add(request.headers["authorization"])
        return httpx.Response(401, text="key-one key-two")

    client = make(httpx.MockTransport(answer), guarded="http://a/v1", unguarded="http://b")
    found = client.post("/guard/ask", json={"prompt": "x"})
    assert seen == {"a": {"Bearer key-one"}, "b": {"Bearer key-two"}}
    assert found.json()["guarded"]["error"] == "answered 401" and "key" not in found.text


def test_nobody_is_asked_where_no_servers_are_given(client: TestClient) -> None:
    assert client.post("/guard/ask", json={"prompt": "x"}).status_code == 404
    assert client.get("/guard/status").json()["features"]["ask"] is False
