"""Events on their way to the disk: none is lost unnoticed, and what must be recorded is."""

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from guard.audit import folder
from guard.audit.chain import Chain
from guard.audit.settings import AuditSettings
from guard.audit.trail import Trail
from guard.errors import AuditError
from tests.audit.history import found
from tests.audit.test_chain import PLAIN, numbers, told

Open = Callable[..., Trail]


@pytest.fixture
def open_trail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    monkeypatch.setattr("guard.audit.trail._AGAIN", 0.01)
    opened = []

    def run(on_error: Any = "closed", sync: Any = "batch", **kwargs: Any) -> Trail:
        settings = AuditSettings(tmp_path, None, on_error, sync, "host")
        trail = Trail(settings, {"role": "test"}, **kwargs)
        opened.append(trail)
        return trail

    yield run
    for trail in opened:
        trail.close()


def put(trail: Trail, n: int, must: bool = True) -> None:
    trail.put(1.0, "decided", {"n": n}, must=must)


def until(true: Callable[[], bool]) -> None:
    for _ in range(3000):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it never came to that")


def test_what_many_threads_tell_is_written_once_each(open_trail: Open, tmp_path: Path) -> None:
    trail = open_trail()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: put(trail, n), range(1000)))
    trail.close()
    assert sorted(numbers(tmp_path)) == list(range(1000))
    records = told(tmp_path)
    assert [records[0].kind, records[1].kind, records[-1].kind] == ["genesis", "start", "stop"]
    assert records[1].body["role"] == "test" and records[1].body["pid"] == os.getpid()
    assert found(tmp_path, PLAIN).intact


def test_counts_and_anchors_are_told_now_and_then(open_trail: Open, tmp_path: Path) -> None:
    other = open_trail()
    trail = open_trail(anchor_seconds=0.01)
    for _ in range(3):
        trail.tally("allow")
    until(lambda: {"tally", "anchor"} <= {record.kind for record in told(tmp_path)})
    trail.close()
    other.close()
    tallies = [record.body for record in told(tmp_path) if record.kind == "tally"]
    assert sum(body["allow"] for body in tallies) == 3
    anchors = [record for record in told(tmp_path) if record.kind == "anchor"]
    assert [set(one.body) for one in anchors if one.writer == "host-2"] == [{"host-1"}]
    assert found(tmp_path, PLAIN).intact


def test_nothing_is_written_where_nothing_happens(open_trail: Open, tmp_path: Path) -> None:
    trail = open_trail(anchor_seconds=0.001)
    time.sleep(0.05)
    assert [record.kind for record in told(tmp_path)] == ["genesis", "start"]
    trail.close()


def test_who_waits_for_the_disk_has_it_there(open_trail: Open, tmp_path: Path) -> None:
    trail = open_trail(sync="wait")
    for n in range(5):
        put(trail, n)
        assert numbers(tmp_path) == list(range(n + 1))


class Stopped:
    """A chain that cannot be written until it is let."""

    def __init__(self) -> None:
        self.let = threading.Event()
        self.tried = threading.Event()

    def open(self, *args: Any) -> Chain:
        chain = Chain.open(*args)
        append = chain.append

        def held(items: Any) -> None:
            self.tried.set()
            if not self.let.is_set():
                raise OSError(errno.ENOSPC, "No space left on device")
            append(items)

        chain.append = held  # type: ignore[method-assign]
        return chain


def test_closed_refuses_what_cannot_be_recorded(open_trail: Open, tmp_path: Path) -> None:
    stopped = Stopped()
    trail = open_trail(open_chain=stopped.open)
    put(trail, 0)
    until(lambda: trail._failing)
    with pytest.raises(AuditError, match="the audit cannot be written"):
        put(trail, 1)
    put(trail, 2, must=False)  # is kept until it can be written
    stopped.let.set()
    until(lambda: not trail._failing)
    put(trail, 3)
    trail.close()
    assert numbers(tmp_path) == [0, 2, 3]
    assert found(tmp_path, PLAIN).intact


@pytest.mark.parametrize("on_error", ["closed", "open"])
def test_a_full_queue_refuses_or_counts(open_trail: Open, tmp_path: Path, on_error: str) -> None:
    stopped, lost = Stopped(), list[int]()
    trail = open_trail(on_error, open_chain=stopped.open, most=2, lost=lambda: lost.append(1))
    put(trail, 0, must=False)
    until(lambda: trail._failing)
    for n in (1, 2, 3, 4):
        put(trail, n, must=False)
    if on_error == "closed":
        with pytest.raises(AuditError):
            put(trail, 5)
    else:
        put(trail, 5)
    gone = 2 if on_error == "closed" else 3
    assert len(lost) == gone
    stopped.let.set()
    trail.close()
    assert numbers(tmp_path) == [0, 1, 2]
    assert sum(one.body["records"] for one in told(tmp_path) if one.kind == "lost") == gone
    verdict = found(tmp_path, PLAIN)
    assert verdict.intact and "records were lost" in str(verdict.notes)


def test_who_waits_is_not_kept_for_ever(open_trail: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guard.audit.trail._WAIT", 0.05)
    stopped = Stopped()
    trail = open_trail(sync="wait", open_chain=stopped.open)
    with pytest.raises(AuditError, match=r"within 0\.05 s"):
        put(trail, 0)
    stopped.let.set()


def test_nothing_is_recorded_behind_the_end(open_trail: Open, tmp_path: Path) -> None:
    trail = open_trail()
    trail.close()
    trail.close()
    with pytest.raises(AuditError):
        put(trail, 0)
    put(trail, 1, must=False)
    assert numbers(tmp_path) == []


def test_a_writer_that_died_is_noticed(open_trail: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda args: None)
    trail = open_trail()
    monkeypatch.setattr(trail._chain, "append", lambda items: 1 / 0)
    put(trail, 0)
    until(lambda: trail._failing)
    with pytest.raises(AuditError):
        put(trail, 1)
    trail._chain.abandon()


_ENDS = """
import sys
from pathlib import Path
from guard.audit.settings import AuditSettings
from guard.audit.trail import Trail
def run(folder):
    trail = Trail(AuditSettings(Path(folder), writer="host"), {"role": "test"})
    for n in range(100):
        trail.put(1.0, "decided", {"n": n}, must=True)
"""


@pytest.mark.parametrize("how", ["alone", "spawned"])
def test_a_process_that_ends_writes_what_waits(tmp_path: Path, how: str) -> None:
    """Also one that multiprocessing has started, as vLLM's API servers are."""
    (tmp_path / "ends.py").write_text(_ENDS)
    spawned = (
        "import multiprocessing, sys, ends\n"
        "if __name__ == '__main__':\n"
        "    spawn = multiprocessing.get_context('spawn')\n"
        "    one = spawn.Process(target=ends.run, args=(sys.argv[1],))\n"
        "    one.start(); one.join(); sys.exit(one.exitcode)\n"
    )
    (tmp_path / "main.py").write_text(
        "import sys, ends\nends.run(sys.argv[1])\n" if how == "alone" else spawned
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    command = [sys.executable, str(tmp_path / "main.py"), str(tmp_path / "audit")]
    subprocess.run(command, env=environment, check=True)
    assert numbers(tmp_path / "audit") == list(range(100))
    assert told(tmp_path / "audit")[-1].kind == "stop"


def test_what_a_failed_write_has_left_is_not_written_again(
    open_trail: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trail = open_trail()
    write, fails = folder.write_head, [1]

    def once(*args: Any) -> None:
        if fails:
            fails.pop()
            raise OSError(errno.EIO, "Input/output error")
        write(*args)

    monkeypatch.setattr("guard.audit.chain.write_head", once)
    put(trail, 0)
    until(lambda: not fails)
    until(lambda: not trail._failing)
    put(trail, 1)
    trail.close()
    assert numbers(tmp_path) == [0, 1]
    assert found(tmp_path, PLAIN).intact
