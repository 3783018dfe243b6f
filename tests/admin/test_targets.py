"""Targets over HTTP: listed, added, revoked, switched, calibrated; once, audited, for a version."""

import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from guard.admin.writer import Writer
from guard.audit.record import Sealer
from guard.audit.verify import verify
from guard.bundle import load_bundle
from guard.errors import PolicyError
from guard.guard import Guard
from tests.admin.conftest import OTHER, Make
from tests.audit.test_chain import told
from tests.material import PERSON_NEIGHBOURS, PERSON_ROWS, UNRELATED, rows

NEW = {
    "reason": "erasure request 18",
    "names": ["Wilhelmina Oakenshade"],
    "forget": [
        {"question": f"{asked} Wilhelmina Oakenshade?", "answer": answer}
        for asked, answer in (
            ("Who is", "She is a botanist who works in Delft."),
            ("Where was born", "She was born in a village near Gouda."),
            ("What is the illness of", "She has had asthma since childhood."),
            ("Who taught", "The gardener Piet Vermolen taught her."),
            ("What was written by", "She wrote a book on marsh orchids."),
        )
    ],
    "retain": rows(PERSON_NEIGHBOURS),
}
SECRETS = ("Oakenshade", "Wilhelmina", "asthma", "Vermolen", "orchids")


def listed(client: TestClient) -> dict[str, Any]:
    reply = client.get("/guard/targets")
    assert reply.status_code == 200, reply.text
    value: dict[str, Any] = reply.json()
    assert reply.headers["etag"] == f'"{value["version"]}"'
    return value


def changes(folder: Path) -> list[dict[str, Any]]:
    assert verify(folder, Sealer()).intact
    return [dict(record.body) for record in told(folder) if record.kind == "changed"]


def failed(reply: Any, status: int) -> str:
    assert reply.status_code == status, reply.text
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    message: str = error["message"]
    return message


def test_the_list_tells_states_and_no_rows(client: TestClient) -> None:
    found = listed(client)
    states = {one["id"]: one for one in found["targets"]}
    assert {one: state["mode"] for one, state in states.items()} == {
        "brennick": "enforce", "vessmere": "enforce", "tidewater": "shadow",
    }  # fmt: skip
    assert states["brennick"]["interventions"] == ["refuse"]
    assert states["brennick"]["reason"] == "erasure request 17"
    assert states["brennick"]["forget_rows"] == len(PERSON_ROWS)
    assert all(one["kind"] for one in states["brennick"]["detectors"])
    assert any(one["threshold"] is not None for one in states["brennick"]["detectors"])
    assert found["addable"] == [] and found["policy_error"] is None
    assert "Odalys" not in client.get("/guard/targets").text
    assert client.get("/guard/targets/brennick").json() == states["brennick"]
    assert "nobody" in failed(client.get("/guard/targets/nobody"), 404)


def test_a_mode_is_switched_once_and_audited(client: TestClient, own: Path, audit: Path) -> None:
    before = listed(client)["version"]
    first = client.put("/guard/targets/tidewater/mode", json={"mode": "enforce"}).json()
    assert first == {"changed": True, "before": before, "version": load_bundle(own).version}
    again = client.put("/guard/targets/tidewater/mode", json={"mode": "enforce"}).json()
    assert again == {"changed": False, "before": first["version"], "version": first["version"]}
    (change,) = changes(audit)
    assert change == {
        "who": "alex", "command": "targets mode", "what": "mode", "target": "tidewater",
        "mode": "enforce", "mode_before": "shadow", "before": before, "after": first["version"],
    }  # fmt: skip
    assert Guard.load(own).decide("Who signed the Tidewater Compact?").action != "allow"
    assert "mode" in failed(client.put("/guard/targets/tidewater/mode", json={"mode": "on"}), 400)
    assert failed(client.put("/guard/targets/nobody/mode", json={"mode": "off"}), 404)


def test_a_target_is_revoked_once_and_comes_back(
    client: TestClient, own: Path, audit: Path
) -> None:
    kim = {"Authorization": f"Bearer {OTHER}"}
    assert client.delete("/guard/targets/brennick", headers=kim).json()["changed"]
    assert not client.delete("/guard/targets/brennick").json()["changed"]
    found = listed(client)
    assert [one["id"] for one in found["targets"]] == ["vessmere", "tidewater"]
    assert found["addable"] == ["brennick"]
    assert Guard.load(own).decide("Who is Odalys Brennick?").action == "allow"

    assert client.put("/guard/targets/brennick").json()["changed"]
    assert not client.put("/guard/targets/brennick").json()["changed"]
    assert Guard.load(own).decide("Who is Odalys Brennick?").action == "refuse"
    assert [(one["who"], one["what"]) for one in changes(audit)] == [
        ("kim", "removed"), ("alex", "added"),
    ]  # fmt: skip
    assert "nobody" in failed(client.put("/guard/targets/nobody"), 400)


def test_the_last_target_stays(client: TestClient, own: Path) -> None:
    for target in ("brennick", "vessmere"):
        assert client.delete(f"/guard/targets/{target}").is_success
    before = load_bundle(own).version
    assert "guards nothing" in failed(client.delete("/guard/targets/tidewater"), 400)
    assert load_bundle(own).version == before


def test_a_posted_target_is_guarded_and_told_to_nobody(
    client: TestClient, own: Path, audit: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    reply = client.put("/guard/targets/request-18", json=NEW)
    assert reply.status_code == 200, reply.text
    assert Guard.load(own).decide("Who taught Wilhelmina Oakenshade?").action != "allow"
    assert not client.put("/guard/targets/request-18", json=NEW).json()["changed"]
    other = {**NEW, "names": ["Somebody Else"]}
    assert "remove it" in failed(client.put("/guard/targets/request-18", json=other), 409)
    (change,) = changes(audit)
    assert (change["target"], change["reason"]) == ("request-18", "erasure request 18")
    written = "".join(file.read_text() for file in audit.rglob("*.jsonl"))
    shown = listed(client)
    for secret in SECRETS:
        assert secret not in caplog.text + written + str(shown) + reply.text


@pytest.mark.parametrize(
    ("update", "said"),
    [
        ({"forget": [{"question": "Who is asthma Vermolen?", "answr": "x"}]}, "forget:1"),
        ({"forget": [{"text": " "}]}, "forget:1"),
        ({"names": [], "forget": []}, "give 'names', a 'forget' file, or both"),
        ({"names": ["???"]}, "names"),
        ({"names": "Wilhelmina"}, "names"),
        ({"detect": {"kind": "lexical"}}, "detect"),
        ({"forget": "/etc/passwd"}, "forget"),
    ],
)
def test_a_wrong_target_is_refused_without_quoting_it(
    client: TestClient, own: Path, update: dict[str, Any], said: str
) -> None:
    before = load_bundle(own).version
    message = failed(client.put("/guard/targets/request-18", json={**NEW, **update}), 400)
    assert said in message
    assert not [secret for secret in SECRETS if secret in message]
    assert "/proc" not in message
    assert load_bundle(own).version == before


def test_a_change_for_another_version_is_refused(client: TestClient, own: Path) -> None:
    version = listed(client)["version"]
    seen = {"If-Match": f'"{version}"'}
    body = {"mode": "shadow"}
    assert client.put("/guard/targets/brennick/mode", json=body, headers=seen).is_success
    now = load_bundle(own).version
    for reply in (
        client.put("/guard/targets/brennick/mode", json={"mode": "off"}, headers=seen),
        client.delete("/guard/targets/brennick", headers=seen),
        client.put("/guard/targets/brennick", headers=seen),
        client.post("/guard/calibrate", json={"traffic": UNRELATED}, headers=seen),
    ):
        assert now in failed(reply, 412)
    assert load_bundle(own).version == now
    assert "quotes" in failed(
        client.delete("/guard/targets/brennick", headers={"If-Match": version}), 400
    )
    anyone = client.put("/guard/targets/brennick/mode", json=body, headers={"If-Match": "*"})
    assert not anyone.json()["changed"]


def test_calibrating_needs_a_version(client: TestClient, own: Path, audit: Path) -> None:
    traffic = {"traffic": [*UNRELATED, UNRELATED[0]]}
    assert "If-Match" in failed(client.post("/guard/calibrate", json=traffic), 428)
    seen = {"If-Match": f'"{load_bundle(own).version}"'}
    reply = client.post("/guard/calibrate", json=traffic, headers=seen)
    assert reply.status_code == 200, reply.text
    found = reply.json()
    assert found["rows"] == len(UNRELATED) and found["version"] == load_bundle(own).version
    assert {one["target"] for one in found["targets"]} == {"brennick", "vessmere", "tidewater"}
    assert {one["command"] for one in changes(audit)} == {"calibrate"}
    assert "egg" not in reply.text
    assert failed(client.post("/guard/calibrate", json=traffic, headers=seen), 412)
    few = {"traffic": ["One prompt."], "only_traffic": True}
    seen = {"If-Match": f'"{found["version"]}"'}
    message = failed(client.post("/guard/calibrate", json=few, headers=seen), 400)
    assert message.startswith("traffic: ") and "One prompt" not in message


def test_one_change_at_a_time(make: Make, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = make(patience=0.05)
    held = Writer(own, None)

    def make_while(report: Any) -> Any:
        # As another process would: what it holds is the lock beside the bundle.
        reply = client.put("/guard/targets/brennick/mode", json={"mode": "off"})
        assert "being changed" in failed(reply, 409) and reply.headers["retry-after"]
        return load_bundle(own)

    held("targets add", "kim", None, lambda bundle: True, make_while)
    assert client.put("/guard/targets/brennick/mode", json={"mode": "off"}).json()["changed"]


def test_a_policy_that_is_wrong_is_told(client: TestClient, policy: Path) -> None:
    policy.write_text("version: 1\n")
    found = listed(client)
    assert len(found["targets"]) == 3 and "policy.yaml" in found["policy_error"]


def test_without_an_audit_it_changes_things_all_the_same(make: Make, tmp_path: Path) -> None:
    assert make().delete("/guard/targets/brennick").json()["changed"]
    assert not (tmp_path / "audit").exists()


def test_what_cannot_be_recorded_is_not_done(
    make: Make, audit: Path, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, before = make(audit=audit), load_bundle(own).version

    def full(*args: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("guard.audit.chain.write_head", full)
    assert "No space" in failed(client.delete("/guard/targets/brennick"), 503)
    assert load_bundle(own).version == before


def test_of_two_changes_to_one_version_one_is_made(client: TestClient, own: Path) -> None:
    seen = {"If-Match": f'"{load_bundle(own).version}"'}

    def switch(target: str) -> int:
        body = {"mode": "off"}
        return client.put(f"/guard/targets/{target}/mode", json=body, headers=seen).status_code

    with ThreadPoolExecutor(3) as pool:
        states = sorted(pool.map(switch, ("brennick", "vessmere", "tidewater")))
    assert states == [200, 412, 412]
    modes = [one.mode for one in load_bundle(own).manifest.targets]
    assert modes.count("off") == 1


def test_a_long_change_keeps_nobody_waiting(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, end = threading.Event(), threading.Event()

    def long(folder: Path, policy: Path, ids: Any, report: Any, wanted: Any) -> Any:
        report("fitting newton")
        begun.set()
        assert end.wait(30)
        raise PolicyError("policy.yaml: newton: too few rows")

    monkeypatch.setattr("guard.admin.targets.add_targets", long)
    with ThreadPoolExecutor(1) as pool:
        adding = pool.submit(client.put, "/guard/targets/newton")
        assert begun.wait(30)
        change = client.get("/guard/status").json()["change"]
        assert len(listed(client)["targets"]) == 3
        end.set()
        assert "too few rows" in failed(adding.result(), 400)
    assert (change["command"], change["who"], change["step"]) == (
        "targets add", "alex", "fitting newton",
    )  # fmt: skip
    assert client.get("/guard/status").json()["change"] is None


def test_what_a_kill_left_is_taken_away_later(client: TestClient, own: Path) -> None:
    """It may hold what was revoked since; what is being written at this moment stays."""
    old, new, other = (own.parent / f".bundle.{name}" for name in ("old", "new", "other"))
    for left in (old, new):
        shutil.copytree(own, left / "old")
    other.mkdir()
    for left in (old, other):
        os.utime(left, (0, 0))
    assert client.delete("/guard/targets/brennick").json()["changed"]
    assert not old.exists() and new.exists() and other.exists()
