"""A chain outlasts kills, full disks and other writers."""

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.audit.folder import HEAD, Head, segment, segments, write_head
from guard.audit.record import Record, Sealer, parse
from guard.errors import AuditError
from tests.audit.history import KEY, chain, copied, files, found
from tests.permissions import bound_by_permissions

PLAIN = Sealer()


def told(folder: Path) -> list[Record]:
    """All records, chain by chain."""
    lines = [line for file in files(folder) for line in file.read_bytes().splitlines()]
    return [record for record in map(parse, lines) if record is not None]


def numbers(folder: Path) -> list[int]:
    """What was recorded, in order."""
    return [record.body["n"] for record in told(folder) if record.kind == "decided"]


def some(*n: int) -> list[Any]:
    return [(1.0, "decided", {"n": one}) for one in n]


def test_a_chain_goes_on_where_it_ended(tmp_path: Path) -> None:
    for start in range(3):
        one = chain(tmp_path, PLAIN)
        for n in range(4):
            one.append(some(4 * start + n))
        one.close([(2.0, "stop", {})])
    assert numbers(tmp_path) == list(range(12))
    records = told(tmp_path)
    assert [record.seq for record in records] == list(range(len(records)))
    assert records[0].kind == "genesis" and records[0].body["bundle"] == "b1"
    first = [parse(file.read_bytes().splitlines()[0]) for file in files(tmp_path)]
    assert len(first) > 3 and {one.kind for one in first[1:] if one} == {"segment"}
    assert found(tmp_path, PLAIN).intact


def test_those_who_write_at_once_have_a_chain_each(tmp_path: Path) -> None:
    one, two = chain(tmp_path, PLAIN), chain(tmp_path, PLAIN)
    assert (one.path.name, two.path.name) == ("host-1", "host-2")
    one.close()
    three = chain(tmp_path, PLAIN)
    assert three.path.name == "host-1"
    for open_ in (two, three):
        open_.close()


def _write(folder: str, who: int, most: int) -> None:
    one = chain(Path(folder), PLAIN)
    for n in range(most):
        one.append(some(1000 * who + n))
        if n % 5 == 0:
            one.append([(2.0, "anchor", one.anchor())])
    one.close([(3.0, "stop", {})])


def test_several_processes_write_one_folder(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    started = [spawn.Process(target=_write, args=(str(tmp_path), who, 20)) for who in range(4)]
    for process in started:
        process.start()
    for process in started:
        process.join(120)
        assert process.exitcode == 0
    wanted = [1000 * who + n for who in range(4) for n in range(20)]
    assert sorted(numbers(tmp_path)) == wanted
    assert found(tmp_path, PLAIN).intact


_KILLED = """
import sys
from pathlib import Path
from guard.audit.record import Sealer
from tests.audit.history import chain
one = chain(Path(sys.argv[1]), Sealer())
for n in range(10 ** 9):
    one.append([(1.0, "decided", {"n": n})])
    print(n, flush=True)
"""


def test_a_kill_in_the_middle_of_writing_loses_nothing_that_was_written(tmp_path: Path) -> None:
    last = -1
    for _ in range(3):
        before = len(numbers(tmp_path))
        process = subprocess.Popen(
            [sys.executable, "-c", _KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for line in process.stdout:
            last = int(line)
            if last >= 15:
                process.send_signal(signal.SIGKILL)
                break
        rest = process.stdout.read().split()
        process.wait()
        last = int(rest[-1]) if rest and rest[-1].isdecimal() else last
        assert len(numbers(tmp_path)) - before >= last + 1
    chain(tmp_path, PLAIN).close([(2.0, "stop", {})])
    verdict = found(tmp_path, PLAIN)
    assert verdict.intact and list(verdict.records) == ["host-1"]
    assert sum("the one before was killed" in note.what for note in verdict.notes) == 3


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chain of several files, with a head that is as far as the first batch."""
    folder = tmp_path_factory.mktemp("past")
    one = chain(folder, PLAIN)
    for n in range(4):
        one.append(some(n))
    head = (one.path / HEAD).read_bytes()
    one.append(some(4, 5, 6))
    one.close()
    (folder / "host-1" / HEAD).write_bytes(head)
    return folder


@given(st.data())
def test_a_write_that_broke_off_anywhere_is_mended_and_told_of(
    past: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = copied(past, tmp_path_factory.getbasetemp() / "torn")
    file = segments(folder / "host-1")[-1]
    raw = file.read_bytes()
    whole = [at for at in range(len(raw)) if raw[at : at + 1] == b"\n"]
    at = data.draw(st.integers(whole[-4] + 1 if len(whole) > 3 else 0, len(raw)))
    file.write_bytes(raw[:at])
    torn = at and raw[at - 1 : at] != b"\n"
    if torn:
        assert "torn: a kill while it was written, or a cut" in str(found(folder, PLAIN).problems)
    for again in range(2):
        one = chain(folder, PLAIN)
        one.append(some(7 + again))
        one.close([(3.0, "stop", {})])
        verdict = found(folder, PLAIN)
        assert verdict.intact, verdict.problems
        mended = any("mended" in note.what for note in verdict.notes)
        whole_but_the_break = torn and parse(raw[:at].rpartition(b"\n")[2]) is not None
        assert mended == (bool(torn) and not whole_but_the_break)
    kept = numbers(folder)
    assert kept[:4] == [0, 1, 2, 3] and kept[-2:] == [7, 8]
    assert kept == sorted(set(kept))


def test_a_kill_before_the_first_record_is_whole_is_mended(tmp_path: Path) -> None:
    one = chain(tmp_path / "whole", PLAIN)
    one.close()
    raw = segment(one.path, 1).read_bytes()
    for end in (0, 1, 50, raw.index(b"\n")):
        folder = copied(tmp_path / "whole", tmp_path / "torn")
        segment(folder / "host-1", 1).write_bytes(raw[:end])
        write_head(folder / "host-1", Head(-1, "0" * 64), PLAIN)
        chain(folder, PLAIN).close([(2.0, "stop", {})])
        assert found(folder, PLAIN).intact


def test_a_kill_while_the_next_file_is_begun_is_mended(tmp_path: Path) -> None:
    one = chain(tmp_path / "whole", PLAIN)
    while len(segments(one.path)) < 2:
        head = (one.path / HEAD).read_bytes()
        one.append(some(1))
    one.close()
    raw = segment(one.path, 2).read_bytes()
    for end in (0, 1, 50):
        folder = copied(tmp_path / "whole", tmp_path / "torn")
        segment(folder / "host-1", 2).write_bytes(raw[:end])
        (folder / "host-1" / HEAD).write_bytes(head)
        chain(folder, PLAIN).close([(2.0, "stop", {})])
        assert found(folder, PLAIN).intact


def test_going_on_does_not_hide_what_was_cut(tmp_path: Path) -> None:
    """A start after a cut must not make it look like a kill."""
    one = chain(tmp_path, PLAIN)
    one.append(some(1, 2))
    one.close()
    file = segments(one.path)[-1]
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:-1]) + lines[-1][:30])
    chain(tmp_path, PLAIN).close([(2.0, "stop", {})])
    verdict = found(tmp_path, PLAIN)
    assert "when it was gone on with: records are missing" in str(verdict.problems)
    (one.path / HEAD).unlink()
    chain(tmp_path, PLAIN).close([(2.0, "stop", {})])
    assert "the head is missing or not genuine" in str(found(tmp_path, PLAIN).problems)


def test_a_full_disk_neither_loses_nor_repeats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    for part in (0, 1, 150, 400, 700):
        folder = tmp_path / str(part)
        one = chain(folder, PLAIN)

        def full(number: int, raw: bytes, left: list[int] = [part]) -> int:  # noqa: B006
            if not left[0]:
                raise OSError(errno.ENOSPC, "No space left on device")
            written, left[0] = write(number, raw[: left[0]]), 0
            return written

        batch = some(*range(5))
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            one.append(batch)
        with pytest.raises(OSError, match="No space"):
            one.recover(batch[0])
            one.append(batch[one.kept :])
        monkeypatch.setattr(os, "write", write)
        one.recover(batch[0])
        one.append(batch[one.kept :])
        one.close([(2.0, "stop", {})])
        assert numbers(folder) == list(range(5)), part
        assert found(folder, PLAIN).intact


def test_a_chain_goes_by_one_key(tmp_path: Path) -> None:
    chain(tmp_path, Sealer(KEY)).close()
    for other in (PLAIN, Sealer(b"another key, which is long as well")):
        with pytest.raises(AuditError, match="with another GUARD_AUDIT_KEY, or without one"):
            chain(tmp_path, other)
    chain(tmp_path, Sealer(KEY)).close([(2.0, "stop", {})])
    assert found(tmp_path, Sealer(KEY)).intact
    assert KEY.decode() not in "".join(file.read_text() for file in files(tmp_path))


def test_files_that_are_gone_end_a_chain(tmp_path: Path) -> None:
    one = chain(tmp_path, PLAIN)
    one.close()
    for file in segments(one.path):
        file.unlink()
    with pytest.raises(AuditError, match="its files are gone"):
        chain(tmp_path, PLAIN)


@bound_by_permissions
def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(AuditError, match="the audit cannot be written"):
        chain(tmp_path / "audit", PLAIN)
    tmp_path.chmod(0o700)


def test_what_stands_in_the_way_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AuditError, match="the audit cannot be written"):
        chain(tmp_path / "file", PLAIN)


def test_records_are_for_their_owner_alone(tmp_path: Path) -> None:
    one = chain(tmp_path, PLAIN)
    one.close()
    assert one.path.stat().st_mode & 0o077 == 0
    assert {path.stat().st_mode & 0o077 for path in one.path.iterdir()} == {0}
