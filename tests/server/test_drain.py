"""Requests that run are waited for, those that come are refused, whatever process they reach."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from guard.server.drain import FOLDER, Drain, Running


@pytest.fixture
def drain() -> Iterator[Drain]:
    made = Drain()
    yield made
    made.close()


def never() -> bool:
    return False


def test_where_nothing_runs_it_ends_at_once(drain: Drain) -> None:
    running = Running(drain.folder)
    assert not running.draining and running.enter()
    running.leave()
    assert drain(60, never)
    assert running.draining and not running.enter()


def test_all_processes_are_waited_for(drain: Drain) -> None:
    one, two = Running(drain.folder), Running(drain.folder)
    assert one.enter() and one.enter() and two.enter()
    ends = iter([one.leave, two.leave, one.leave])
    waited = []

    def stop() -> bool:
        assert not one.enter() and not two.enter()
        waited.append(True)
        next(ends)()
        return False

    assert drain(60, stop)
    assert len(waited) == 3


def test_it_waits_no_longer_than_it_may(drain: Drain) -> None:
    running = Running(drain.folder)
    assert running.enter()
    assert not drain(0, never)
    assert not drain(60, lambda: True)
    assert not running.enter()


def test_a_process_that_dies_is_not_waited_for(drain: Drain) -> None:
    code = (
        "import os; from guard.server.drain import Running; "
        "assert Running.from_environment().enter(); os.kill(os.getpid(), 9)"
    )
    env = {**os.environ, FOLDER: str(drain.folder)}
    assert subprocess.run([sys.executable, "-c", code], env=env).returncode == -9
    assert drain(0, never)


def test_who_comes_after_the_last_look_is_refused(drain: Drain) -> None:
    """The lock is kept, so nobody begins between look and end; even if the file were not seen."""
    running = Running(drain.folder)
    assert drain(60, never)
    (drain.folder / "begun").unlink()
    assert not running.enter()


def test_without_a_parent_nothing_is_drained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER, raising=False)
    running = Running.from_environment()
    assert running.enter() and not running.draining
    running.leave()


def test_its_folder_is_taken_away() -> None:
    drain = Drain()
    assert drain.folder.stat().st_mode & 0o077 == 0
    drain.close()
    assert not Path(drain.folder).exists()
