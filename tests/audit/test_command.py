"""`guard audit`: exit statuses that scripts can go by."""

import json
from pathlib import Path

import pytest

from guard.audit.folder import segments
from guard.audit.record import Sealer
from guard.cli import main
from tests.audit.history import KEY, chain, write


@pytest.fixture
def past(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("GUARD_AUDIT_KEY", raising=False)
    return write(tmp_path / "audit", Sealer())


def test_verify_says_that_it_is_intact(past: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "verify", str(past)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("intact: ") and sum(line.startswith("note") for line in lines) == 2


def test_verify_names_file_and_line(past: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = segments(past / "host-2")[1]
    lines = file.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b'"filter"', b'"allow"')
    file.write_bytes(b"".join(lines))
    assert main(["audit", "verify", str(past)]) == 1
    out = capsys.readouterr().out
    assert "PROBLEM host-2/00000002.jsonl:2: was edited: its hash is not its own" in out
    assert out.splitlines()[-1] == "NOT INTACT: 1 problem"
    assert main(["audit", "verify", str(past), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["problems"] == [
        {"file": "host-2/00000002.jsonl", "line": 2, "what": "was edited: its hash is not its own"}
    ]


def test_verify_goes_by_an_earlier_one(
    past: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", "verify", str(past), "--json"]) == 0
    (tmp_path / "heads.json").write_text(capsys.readouterr().out)
    since = ["--since", str(tmp_path / "heads.json")]
    assert main(["audit", "verify", str(past), *since]) == 0
    for path in past.iterdir():
        for file in (*segments(path), path / "head.json"):
            file.unlink()
    chain(past, Sealer()).close()
    assert main(["audit", "verify", str(past), *since]) == 1
    assert main(["audit", "verify", str(past), "--since", str(tmp_path / "none.json")]) == 2


def test_verify_needs_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path / "keyed", Sealer(KEY))
    monkeypatch.delenv("GUARD_AUDIT_KEY", raising=False)
    assert main(["audit", "verify", str(folder)]) == 2
    assert "set GUARD_AUDIT_KEY" in capsys.readouterr().err
    monkeypatch.setenv("GUARD_AUDIT_KEY", KEY.decode())
    assert main(["audit", "verify", str(folder)]) == 0
    assert main(["audit", "verify", str(tmp_path / "nothing")]) == 2


def test_mend_notes_what_a_kill_has_torn(past: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open(segments(past / "host-2")[-1], "ab") as file:
        file.write(b'{"at":"20')
    assert main(["audit", "verify", str(past)]) == 1
    assert "torn: a kill while it was written" in capsys.readouterr().out
    held = chain(past, Sealer())  # somebody writes the other one
    assert main(["audit", "mend", str(past)]) == 0
    assert capsys.readouterr().out == "host-1: is being written\nhost-2: whole\n"
    held.close()
    assert main(["audit", "verify", str(past)]) == 0
    assert "torn by a kill, and mended" in capsys.readouterr().out
