"""Who changed which target: recorded around the change, which is not made unrecorded."""

import errno
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from guard.audit.chain import Chain
from guard.audit.changes import differences, recorded, who
from guard.audit.record import Record
from guard.bundle import Bundle, load_bundle
from guard.cli import main
from guard.errors import AuditError
from guard.versions import new_version
from tests.audit.history import found
from tests.audit.test_chain import PLAIN, told


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GUARD_AUDIT", "GUARD_AUDIT_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GUARD_AUDIT_WHO", "alex@office")


@pytest.fixture
def own(bundle: Bundle, tmp_path: Path) -> Path:
    """The shared bundle, to be changed."""
    return Path(shutil.copytree(bundle.path, tmp_path / "bundle"))


def kinds(folder: Path) -> list[str]:
    return [record.kind for record in told(folder)]


def changed(folder: Path) -> list[Record]:
    return [record for record in told(folder) if record.kind == "changed"]


def with_targets(bundle: Bundle, out: Path, **update: Any) -> Bundle:
    """A version in which the first target is another one."""
    first, *rest = [target.model_copy() for target in bundle.manifest.targets]
    records = [one.model_dump() for one in (first.model_copy(update=update), *rest)]
    return new_version(bundle, out, records, {})


def test_differences(bundle: Bundle, tmp_path: Path) -> None:
    added = differences("compile", None, bundle, by="alex")
    assert [(one.what, one.target, one.mode, one.reason) for one in added] == [
        ("added", "brennick", "enforce", "erasure request 17"),
        ("added", "tidewater", "shadow", ""),
        ("added", "vessmere", "enforce", ""),
    ]
    assert {(one.who, one.before, one.after) for one in added} == {("alex", None, bundle.version)}
    assert differences("compile", bundle, bundle) == []
    (mode,) = differences("x", bundle, with_targets(bundle, tmp_path / "mode", mode="shadow"))
    assert (mode.what, mode.mode_before, mode.mode) == ("mode", "enforce", "shadow")
    stages = list(bundle.manifest.targets[0].stages)
    stages[0] = stages[0].model_copy(update={"threshold": 0.123})
    calibrated = with_targets(bundle, tmp_path / "calibrated", stages=stages)
    assert [one.what for one in differences("x", bundle, calibrated)] == ["calibrated"]
    refitted = with_targets(bundle, tmp_path / "refitted", doubtful=None, reason="another")
    assert [(one.what, one.reason) for one in differences("x", bundle, refitted)] == [
        ("refitted", "another")
    ]


def test_a_command_tells_what_it_changed(own: Path, tmp_path: Path) -> None:
    folder, before = tmp_path / "audit", load_bundle(own).version
    command = ["targets", "remove", "brennick", "--bundle", str(own), "--quiet"]
    assert main([*command, "--audit", str(folder)]) == 0
    (record,) = changed(folder)
    assert record.body == {
        "who": "alex@office", "command": "targets remove", "what": "removed",
        "target": "brennick", "reason": "erasure request 17", "mode_before": "enforce",
        "before": before, "after": load_bundle(own).version,
    }  # fmt: skip
    assert kinds(folder) == ["genesis", "start", "begun", "changed", "stop"]
    assert found(folder, PLAIN).intact


def test_the_environment_names_the_audit(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GUARD_AUDIT", str(tmp_path / "audit"))
    assert main(["targets", "remove", "brennick", "--bundle", str(own), "--quiet"]) == 0
    assert [record.body["target"] for record in changed(tmp_path / "audit")] == ["brennick"]


def test_without_an_audit_nothing_is_written(own: Path, tmp_path: Path) -> None:
    assert main(["targets", "remove", "brennick", "--bundle", str(own), "--quiet"]) == 0
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["bundle"]


def test_what_is_given_up_is_told(own: Path, tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    command = ["targets", "remove", "nobody", "--bundle", str(own), "--audit", str(folder)]
    assert main(command) == 2
    assert kinds(folder)[2:] == ["begun", "abandoned", "stop"]
    assert told(folder)[3].body["error"] == "GuardError"


def test_what_an_abandoned_command_leaves_is_told(
    own: Path, bundle: Bundle, tmp_path: Path
) -> None:
    """Adding a target writes a stand-in first."""
    with pytest.raises(KeyError), recorded(tmp_path / "audit", "targets add", own):
        with_targets(bundle, own, mode="shadow")
        raise KeyError("a person's name")
    assert kinds(tmp_path / "audit")[2:] == ["begun", "changed", "abandoned", "stop"]
    assert "person" not in str(told(tmp_path / "audit"))


def test_a_kill_in_the_middle_of_a_change_is_noted(own: Path, tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from guard.audit.changes import recorded\n"
        "with recorded(Path(sys.argv[1]), 'compile', Path(sys.argv[2])): os.kill(os.getpid(), 9)"
    )
    folder = tmp_path / "audit"
    done = subprocess.run([sys.executable, "-c", code, str(folder), str(own)])
    assert done.returncode == -9
    said = "a change was begun here, and what became of it is not told"
    assert said in [note.what for note in found(folder, PLAIN).notes]
    assert (
        main(["targets", "remove", "brennick", "--bundle", str(own), "--audit", str(folder)]) == 0
    )
    verdict = found(folder, PLAIN)
    assert verdict.intact and [note.what for note in verdict.notes].count(said) == 1


def test_a_change_that_cannot_be_recorded_is_not_made(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = load_bundle(own).version
    (tmp_path / "file").write_text("")
    command = ["targets", "remove", "brennick", "--bundle", str(own), "--quiet", "--audit"]
    assert main([*command, str(tmp_path / "file")]) == 2
    assert "the audit cannot be written" in capsys.readouterr().err
    append = Chain.append

    def full(self: Chain, items: Any) -> None:
        if items[0][1] == "begun":
            raise OSError(errno.ENOSPC, "No space left on device")
        append(self, items)

    monkeypatch.setattr(Chain, "append", full)
    assert main([*command, str(tmp_path / "audit")]) == 2
    assert "so nothing was changed: No space left" in capsys.readouterr().err
    assert load_bundle(own).version == before


def test_a_change_whose_end_cannot_be_recorded_is_said_to_be_made(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    append = Chain.append

    def full(self: Chain, items: Any) -> None:
        if items[0][1] == "changed":
            raise OSError(errno.ENOSPC, "No space left on device")
        append(self, items)

    monkeypatch.setattr(Chain, "append", full)
    command = ["targets", "remove", "brennick", "--bundle", str(own), "--quiet"]
    assert main([*command, "--audit", str(tmp_path / "audit")]) == 2
    assert "the change was made, but the audit" in capsys.readouterr().err


def test_who_changes_things(monkeypatch: pytest.MonkeyPatch) -> None:
    assert who() == "alex@office"
    monkeypatch.delenv("GUARD_AUDIT_WHO")
    monkeypatch.setenv("SUDO_USER", "kim")
    assert who().startswith("kim@")
    monkeypatch.delenv("SUDO_USER")
    assert "@" in who()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("GUARD_AUDIT", "", "GUARD_AUDIT is set but empty"),
        ("GUARD_AUDIT_KEY", "short", "has less than 32 characters"),
        ("GUARD_AUDIT_ON_ERROR", "maybe", "give closed or open"),
        ("GUARD_AUDIT_SYNC", "now", "give batch or wait"),
        ("GUARD_AUDIT_WRITER", "../up", "GUARD_AUDIT_WRITER: use up to 48"),
    ],
)
def test_a_wrong_variable_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv("GUARD_AUDIT", str(tmp_path / "audit"))
    monkeypatch.setenv(name, value)
    with pytest.raises(AuditError, match=said), recorded(None, "x", tmp_path / "bundle"):
        pass
    assert not (tmp_path / "audit").exists()
