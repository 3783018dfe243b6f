"""The answer to "show that it is enforced", from a history that was written by hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from guard.audit.chain import Chain
from guard.audit.record import Sealer
from guard.cli import main
from guard.events import KINDS, Changed, Decided, Event, Hit, Noticed, Serving, body
from tests.audit.history import KEY

DAY = 86_400.0
REASON = "request 2026-1182"


def noticed(mode: str, target: str = "ann", action: str = "refuse") -> tuple[Noticed, ...]:
    return (Noticed(target, "lexical", mode, action, 1.0, False),)


def changed(what: str, mode: str | None, before: str | None, after: str, day: float) -> Changed:
    old = {"added": None, "mode": "shadow"}.get(what, "enforce")
    return Changed("alex", "compile", what, "ann", REASON, mode, old, before, after, day * DAY)


HISTORY: list[tuple[float, Event]] = [
    (1, changed("added", "shadow", None, "b1", 1)),
    (2, Serving("b1", {"ann": "shadow", "bob": "enforce"}, {"ann": REASON}, time=2 * DAY)),
    (3, Decided("r1", "b1", "allow", noticed("shadow"), time=3 * DAY)),
    (4, changed("mode", "enforce", "b1", "b2", 4)),
    (5, Serving("b2", {"ann": "enforce", "bob": "enforce"}, {"ann": REASON}, "b1", 5 * DAY)),
    (6, Decided("r2", "b2", "refuse", noticed("enforce"), time=6 * DAY)),
    (7, Decided("r3", "b2", "refuse", noticed("enforce"), time=7 * DAY)),
    (8, Decided("r4", "b2", "failed", noticed("enforce"), error="KeyError", time=8 * DAY)),
    (9, Decided("r5", "b2", "refuse", noticed("enforce", "bob"), time=9 * DAY)),
    (10, Hit("r6", "b2", 0, "exact", "ann", 7, "rollback", 10 * DAY)),
    (11, Serving("b3", {"ann": "enforce"}, {"ann": REASON}, "b2", 11 * DAY)),
    (12, changed("calibrated", "enforce", "b3", "b4", 11.5)),
    (13, changed("removed", None, "b4", "b5", 11.6)),
]
ROWS = [
    {"system": "refuse", "split": "forget", "metric": "rouge_l", "value": 0.003, "low": 0.0,
     "high": 0.01, "n": 40},
    {"system": "refuse", "split": "forget", "metric": "rouge_l", "value": 0.1, "attack": "german"},
    {"system": "refuse", "split": "forget", "metric": "rouge_l", "value": 0.4, "attack": "base64"},
    {"system": "refuse", "split": "retain", "metric": "rouge_l", "value": 1.0},
    {"system": "corrupt", "split": "forget", "metric": "rouge_l", "value": 0.08},
]  # fmt: skip


def write(folder: Path, events: list[tuple[float, Event]], sealer: Sealer) -> None:
    chain = Chain.open(folder, "host", sealer, (0.0, "start", {}))
    for _, event in events:
        chain.append([(event.time, KINDS[type(event)], body(event))])
    chain.append(
        [(12 * DAY, "tally", {"allow": 90, "refuse": 3}), (12 * DAY, "tally", {"allow": 7})]
    )
    chain.append([(12 * DAY, "lost", {"records": 2})])
    chain.close([(12 * DAY, "stop", {})])


@pytest.fixture(params=["plain", "keyed"])
def audit(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two processes, whose records are not in the order of time."""
    monkeypatch.delenv("GUARD_AUDIT_KEY", raising=False)
    if request.param == "keyed":
        monkeypatch.setenv("GUARD_AUDIT_KEY", KEY.decode())
    sealer = Sealer(KEY if request.param == "keyed" else None)
    folder = tmp_path / "audit"
    write(folder, HISTORY[1::2], sealer)
    held = Chain.open(folder, "host", sealer, (0.0, "start", {}))
    write(folder, HISTORY[::2], sealer)
    held.close()
    return folder


@pytest.fixture
def leakage(tmp_path: Path) -> Path:
    path = tmp_path / "leakage.json"
    path.write_text(json.dumps({"benchmark": "leakage", "suite": "full", "rows": ROWS}))
    return path


def exported(audit: Path, tmp_path: Path, *more: str, status: int = 0) -> dict[str, Any]:
    out = tmp_path / "export.json"
    command = ["audit", "export", str(audit), "--json", str(out), *more]
    assert main(command) == status
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def test_since_when_in_which_mode_under_which_versions(audit: Path, tmp_path: Path) -> None:
    told = exported(audit, tmp_path, "--reason", REASON)
    assert list(told["targets"]) == ["ann"] and told["audit"]["intact"]
    ann = told["targets"]["ann"]
    assert ann["mode"] == "enforce" and ann["reasons"] == [REASON]
    assert ann["enforced_since"] == ann["first_enforced"] == "1970-01-06T00:00:00.000000+00:00"
    assert [(one["mode"], one["bundle"]) for one in ann["modes"]] == [
        ("shadow", "b1"), ("enforce", "b2"),
    ]  # fmt: skip
    assert [one["version"] for one in ann["bundles"]] == ["b1", "b2", "b3"]
    assert ann["bundles"][1]["last"].startswith("1970-01-11")


def test_how_many_requests_and_what_was_done(audit: Path, tmp_path: Path) -> None:
    told = exported(audit, tmp_path, "--reason", REASON)
    assert told["targets"]["ann"]["requests"] == [
        {"mode": "enforce", "action": "failed", "count": 1},
        {"mode": "enforce", "action": "refuse", "count": 2},
        {"mode": "shadow", "action": "refuse", "count": 1},
    ]
    assert told["targets"]["ann"]["answers"] == [
        {"check": "exact", "action": "rollback", "count": 1}
    ]
    assert told["requests"] == {"allow": 194, "refuse": 6} and told["lost_records"] == 4
    bob = exported(audit, tmp_path, "--target", "bob")["targets"]["bob"]
    assert bob["requests"] == [{"mode": "enforce", "action": "refuse", "count": 1}]
    assert bob["mode"] == "not served" and bob["enforced_since"] is None
    assert bob["first_enforced"] == "1970-01-03T00:00:00.000000+00:00"


def test_who_changed_what(audit: Path, tmp_path: Path) -> None:
    changes = exported(audit, tmp_path, "--target", "ann")["targets"]["ann"]["changes"]
    assert [(one["what"], one["who"], one["before"], one["after"]) for one in changes] == [
        ("added", "alex", None, "b1"), ("mode", "alex", "b1", "b2"),
        ("calibrated", "alex", "b3", "b4"), ("removed", "alex", "b4", "b5"),
    ]  # fmt: skip


def test_from_which_mode_to_which(audit: Path, tmp_path: Path) -> None:
    changes = exported(audit, tmp_path, "--target", "ann")["targets"]["ann"]["changes"]
    assert [(one["mode_before"], one["mode"]) for one in changes] == [
        (None, "shadow"), ("shadow", "enforce"), ("enforce", "enforce"), ("enforce", None),
    ]  # fmt: skip
    out = tmp_path / "export.md"
    assert main(["audit", "export", str(audit), "--target", "ann", "--markdown", str(out)]) == 0
    rows = [line.split(" | ")[1:3] for line in out.read_text().splitlines() if "| alex |" in line]
    assert rows == [
        ["added", "– → shadow"], ["mode", "shadow → enforce"],
        ["calibrated", "enforce"], ["removed", "enforce → –"],
    ]  # fmt: skip


def test_with_what_measured_leakage(audit: Path, tmp_path: Path, leakage: Path) -> None:
    more = ["--reason", REASON, "--leakage", str(leakage)]
    told = exported(audit, tmp_path, *more)["leakage"]
    assert (told["benchmark"], told["suite"], told["file"]) == ("leakage", "full", "leakage.json")
    assert [row["value"] for row in told["rows"]] == [0.003, 0.1, 0.4, 0.08]
    told = exported(audit, tmp_path, *more, "--system", "corrupt")["leakage"]
    assert [row["value"] for row in told["rows"]] == [0.08]


def test_the_same_for_people(
    audit: Path, tmp_path: Path, leakage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["audit", "export", str(audit), "--reason", REASON, "--leakage", str(leakage)]
    assert main(command) == 0
    text = capsys.readouterr().out
    for said in (
        "# request 2026-1182", "The audit is intact", "enforced without a break since: 1970-01-06",
        "| enforce | refuse | 2 |", "| exact | rollback | 1 |", "| b2 | 1970-01-06",
        "Requests decided in all: 200.", "Records that could not be kept: 4.",
        r"| refuse | forget | asked as it is | rouge\_l | 0.003 (0 to 0.01) |",
        r"| refuse | forget | base64 | rouge\_l | 0.4 |",
        "| added | – → shadow | alex | compile | – | b1 |",
    ):  # fmt: skip
        assert said in text, said
    assert "german" not in text, "the worst attack is told"
    out = tmp_path / "export.md"
    assert main([*command, "--markdown", str(out)]) == 0
    assert "# request 2026-1182" in out.read_text() and not capsys.readouterr().out


def test_an_audit_that_was_edited_says_so(
    audit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = next(iter(sorted(audit.glob("*/*.jsonl"))))
    file.write_bytes(file.read_bytes().replace(b'"refuse"', b'"allow"', 1))
    told = exported(audit, tmp_path, "--target", "ann", status=1)
    assert not told["audit"]["intact"] and told["audit"]["problems"]
    assert "NOT INTACT" in capsys.readouterr().err
    assert main(["audit", "export", str(audit), "--target", "ann"]) == 1
    assert "**The audit is NOT INTACT" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--reason", "other"], "has nothing of reason 'other' (it has: request 2026-1182)"),
        (["--target", "other"], "has nothing of target 'other' (it has: ann, bob)"),
        (["--target", "ann", "--system", "x"], "--system goes with --leakage"),
        (["--target", "ann", "--leakage", "none.json"], "none.json: cannot be read"),
        (["--target", "ann", "--leakage", "bad.json"], "bad.json: rows: not a result"),
        (["--target", "ann", "--leakage", "kept.json"], "kept.json: says nothing of what is"),
        (["--target", "ann", "--leakage", "leakage.json", "--system", "x"], "has no system 'x'"),
        (["--target", "ann", "--json", "no/such/folder.json"], "cannot be written"),
    ],
)
def test_what_cannot_be_answered_is_an_error(
    audit: Path, tmp_path: Path, leakage: Path, more: list[str], said: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("bad.json").write_text('{"rows": [1]}')
    kept = {"rows": [row for row in ROWS if row["split"] == "retain"]}
    Path("kept.json").write_text(json.dumps(kept))
    assert main(["audit", "export", str(audit), *more]) == 2
    assert said in capsys.readouterr().err


def test_a_text_of_the_policy_is_no_markup(tmp_path: Path) -> None:
    reason = "a | *b* <script> [x](y)"
    event = Serving("b1", {"ann": "enforce"}, {"ann": reason}, time=DAY)
    write(tmp_path / "audit", [(1, event)], Sealer())
    out = tmp_path / "out.md"
    command = ["audit", "export", str(tmp_path / "audit"), "--reason", reason]
    assert main([*command, "--markdown", str(out)]) == 0
    assert out.read_text().startswith(r"# a \| \*b\* \<script\> \[x\](y)")
