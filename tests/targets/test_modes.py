"""A target is enforced, watched or switched off, and nothing is fitted anew."""

import threading
from pathlib import Path

import pytest

from guard.bundle import Bundle, load_bundle
from guard.cli import main
from guard.errors import BusyError, GuardError
from guard.guard import Guard
from guard.targets import set_mode
from guard.versions import alone
from tests.targets.bundles import arrays_of, target_of

QUESTION = "Who signed the Tidewater Compact?"


def test_a_mode_is_all_that_changes(whole: Bundle, tmp_path: Path) -> None:
    after = set_mode(whole.path, ["tidewater"], "enforce", tmp_path / "out")
    assert load_bundle(whole.path).version == whole.version != after.version
    for target in whole.manifest.targets:
        assert arrays_of(after, target.id) == arrays_of(whole, target.id)
        mode = "enforce" if target.id == "tidewater" else target.mode
        assert target_of(after, target.id) == target.model_copy(update={"mode": mode})
    assert [one.id for one in after.manifest.targets] == [o.id for o in whole.manifest.targets]


def test_what_is_decided_follows_the_mode(whole: Bundle, tmp_path: Path) -> None:
    decided = {}
    for mode in ("off", "shadow", "enforce"):
        after = set_mode(whole.path, ["tidewater"], mode, tmp_path / mode)  # type: ignore[arg-type]
        decision = Guard(after).decide(QUESTION)
        decided[mode] = (decision.flagged, decision.action)
    assert decided == {
        "off": (False, "allow"), "shadow": (True, "allow"), "enforce": (True, "refuse"),
    }  # fmt: skip


def test_there_and_back_is_the_version_it_was(own: Path) -> None:
    before = load_bundle(own)
    (target,) = before.manifest.targets
    assert set_mode(own, [target.id], "off").version != before.version
    assert set_mode(own, [target.id], target.mode).version == before.version


def test_the_same_mode_writes_nothing(own: Path) -> None:
    before = load_bundle(own)
    mark = (own / "manifest.json").stat().st_ino
    (target,) = before.manifest.targets
    assert set_mode(own, [target.id], target.mode).version == before.version
    assert (own / "manifest.json").stat().st_ino == mark


def test_an_unknown_target(own: Path) -> None:
    before = load_bundle(own).version
    with pytest.raises(GuardError, match="has no target 'nobody'"):
        set_mode(own, ["nobody"], "off")
    assert load_bundle(own).version == before


def test_the_command(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["targets", "mode", "vessmere", "shadow", "--bundle", str(own)]
    assert main(command) == 0
    version = load_bundle(own).version
    assert capsys.readouterr().err == f"guard: wrote {own}: version {version}, 1 targets\n"
    assert load_bundle(own).manifest.targets[0].mode == "shadow"


def test_who_waits_for_a_change_may_give_up(own: Path) -> None:
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with alone(own, None):
            held.set()
            done.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(30)
    try:
        with pytest.raises(BusyError, match="being changed"), alone(own, None, 0.05):
            raise AssertionError
    finally:
        done.set()
        thread.join()
    with alone(own, None, 0.05), alone(own, None):
        pass
