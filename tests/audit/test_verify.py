"""Whatever is done to an audit is found: every byte of every record counts."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from guard.audit.chain import Chain
from guard.audit.folder import HEAD, Head, read_head, segments, write_head
from guard.audit.record import FIRST, Record, Sealer, parse
from guard.audit.verify import Verifier, read_heads, verify
from guard.errors import AuditError
from tests.audit.history import KEY, TORN, chain, copied, files, found, rewrite, write

SEALERS = {"plain": Sealer(), "keyed": Sealer(KEY)}
Spoil = Callable[[Path], None]


@pytest.fixture(scope="module", params=list(SEALERS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def sealer(kind: str) -> Sealer:
    return SEALERS[kind]


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory, sealer: Sealer) -> Path:
    return write(tmp_path_factory.mktemp("past") / "audit", sealer)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, kind: str) -> Path:
    return tmp_path_factory.mktemp(kind) / "audit"


def test_what_nobody_has_touched_is_intact(past: Path, sealer: Sealer) -> None:
    verdict = found(past, sealer)
    assert verdict.intact and verdict.problems == []
    assert len(files(past)) > 6 and set(verdict.records) == {"host-1", "host-2"}
    said = " ".join(map(str, verdict.notes))
    assert "torn by a kill, and mended" in said and "the one before was killed" in said
    assert len(verdict.notes) == 2


@given(st.data())
def test_any_single_byte_that_is_another_is_found(
    past: Path, sealer: Sealer, place: Path, data: st.DataObject
) -> None:
    folder = copied(past, place)
    file = data.draw(st.sampled_from(files(folder)))
    raw = bytearray(file.read_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    file.write_bytes(raw)
    verdict = found(folder, sealer)
    assert not verdict.intact
    line = bytes(raw[:at]).count(b"\n") + 1
    name = f"{file.parent.name}/{file.name}"
    near = [note.line for note in verdict.problems if note.file == name and note.line]
    # A record's own line, or the one behind a line break that is none any more.
    assert any(abs(one - line) <= 1 for one in near), (line, verdict.problems)


@given(st.data(), st.sampled_from(["drop", "swap", "twice", "foreign", "empty", "cut"]))
@example(None, "last")
def test_any_line_that_is_taken_out_put_in_moved_or_cut_is_found(
    past: Path, sealer: Sealer, place: Path, data: st.DataObject | None, how: str
) -> None:
    folder = copied(past, place)
    every = files(folder)
    file = data.draw(st.sampled_from(every)) if data else segments(folder / "host-1")[-1]
    lines = file.read_bytes().splitlines(keepends=True)
    at = data.draw(st.integers(0, len(lines) - 1)) if data else len(lines) - 1
    if how in ("drop", "last"):
        del lines[at]
    elif how == "swap" and data:
        other = data.draw(st.integers(0, len(lines) - 1).filter(lambda one: one != at))
        lines[at], lines[other] = lines[other], lines[at]
    elif how == "twice":
        lines.insert(at, lines[at])
    elif how == "foreign" and data:
        strange = data.draw(st.sampled_from([one for one in every if one.parent != file.parent]))
        lines.insert(at, data.draw(st.sampled_from(strange.read_bytes().splitlines(True))))
    elif how == "empty":
        lines.insert(at, b"\n")
    elif data:
        lines[at] = lines[at][: data.draw(st.integers(0, len(lines[at]) - 1))]
        if data.draw(st.booleans()):  # and everything behind it
            del lines[at + 1 :]
    file.write_bytes(b"".join(lines))
    assert not found(folder, sealer).intact


def _without_chain(folder: Path) -> None:
    shutil.rmtree(folder / "host-2")


def _without_tail_and_head(folder: Path) -> None:
    """Back to an earlier end, head included, as if with the key: only the other chain knows."""
    path = folder / "host-1"
    segments(path)[-1].unlink()
    record = parse(segments(path)[-1].read_bytes().splitlines()[-1])
    genesis = parse(segments(path)[0].read_bytes().splitlines()[0])
    assert record is not None and genesis is not None
    (sealer,) = (one for one in SEALERS.values() if one.key_id == genesis.body["key"])
    write_head(path, Head(record.seq, record.hash), sealer)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_without_chain, "the whole chain is missing"),
        (_without_tail_and_head, "was another one once, or is missing"),
        (lambda folder: (folder / "host-1" / HEAD).unlink(), "missing, or not genuine"),
        (lambda folder: (folder / "host-1" / HEAD).write_text("{}"), "missing, or not genuine"),
        (lambda folder: segments(folder / "host-1")[0].unlink(), "00000001.jsonl: missing"),
        (lambda folder: segments(folder / "host-1")[1].unlink(), "00000002.jsonl: missing"),
        (lambda folder: segments(folder / "host-1")[-1].unlink(), "cut: record"),
        (lambda folder: [f.unlink() for f in segments(folder / "host-1")], "cut: record"),
        (lambda folder: segments(folder / "host-1")[1].write_bytes(b""), "gap: record"),
    ],
)
def test_what_is_missing_is_named(
    past: Path, sealer: Sealer, place: Path, spoil: Spoil, said: str
) -> None:
    folder = copied(past, place)
    spoil(folder)
    assert said in " ".join(map(str, found(folder, sealer).problems))


def test_a_chain_that_is_written_anew_is_found_by_the_key(
    past: Path, sealer: Sealer, kind: str, place: Path
) -> None:
    for forger in (Sealer(), Sealer(b"another key, which the forger has made")):
        folder = copied(past, place)
        for path in folder.glob("*/"):
            rewrite(path, forger)
        if kind == "keyed":
            assert not found(folder, sealer).intact
    # Without a key, only what the other chain names gives it away; all of them together do not.
    folder = copied(past, place)
    rewrite(folder / "host-2", Sealer())
    assert not found(folder, sealer).intact


def test_an_earlier_verdict_knows_what_was_there(
    past: Path, sealer: Sealer, place: Path, tmp_path: Path
) -> None:
    heads = tmp_path / "heads.json"
    heads.write_text(json.dumps(found(past, sealer).to_dict()))
    assert verify(past, sealer, read_heads(heads)).intact
    folder = copied(past, place)
    shutil.rmtree(folder / "host-2")
    for file in segments(folder / "host-1")[3:]:
        file.unlink()
    problems = " ".join(map(str, verify(folder, sealer, read_heads(heads)).problems))
    assert "host-2: the whole chain is missing (the earlier verdict has it)" in problems
    assert "host-1: record" in problems


@pytest.mark.parametrize("mac", ["", "0" * 64, "\ud800", "é", None, 0, [], {}])
def test_a_head_that_is_not_genuine_is_none(
    past: Path, sealer: Sealer, place: Path, mac: object
) -> None:
    head = copied(past, place) / "host-1" / HEAD
    assert read_head(head.parent, sealer) is not None
    head.write_text(json.dumps({**json.loads(head.read_bytes()), "mac": mac}))
    assert read_head(head.parent, sealer) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"heads": {"a": 1}}', '{"heads": {"a": [1]}}'])
def test_what_is_no_verdict_is_said_to_be_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "heads.json").write_text(text)
    with pytest.raises(AuditError, match=r"heads\.json: heads: give what"):
        read_heads(tmp_path / "heads.json")


def test_a_key_that_is_needed_and_not_given_is_no_tampering(tmp_path: Path) -> None:
    folder = write(tmp_path / "audit", Sealer(KEY))
    with pytest.raises(AuditError, match="goes by a key; set GUARD_AUDIT_KEY"):
        verify(folder, Sealer())
    problems = verify(folder, Sealer(b"another key, also long enough for it")).problems
    assert ["goes by another key" in str(one) for one in problems].count(True) == 2


def test_where_there_is_no_audit_there_is_none_to_verify(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="there is no audit in it"):
        verify(tmp_path, Sealer())
    with pytest.raises(AuditError, match="no such folder"):
        verify(tmp_path / "none", Sealer())


def test_what_is_written_while_it_is_read_is_no_problem(tmp_path: Path) -> None:
    """An anchor that names what was written after its chain was read."""
    one, two = chain(tmp_path, Sealer()), chain(tmp_path, Sealer())

    verifier = Verifier(tmp_path, Sealer())
    records = verifier.records()
    read = [next(records) for _ in range(2)]  # of the first chain, to its end
    assert [record.writer for record in read] == ["host-1"] * 2
    next(records)
    one.append([(2.0, "decided", {})])
    two.append([(3.0, "anchor", two.anchor())])
    assert len(list(records)) == 2
    assert verifier.verdict().intact
    for open_ in (one, two):
        open_.close()


def test_strange_things_in_sound_records_are_no_error(tmp_path: Path) -> None:
    """Whoever has no key to fear may write anything that is sound by itself."""
    sealer, prev = Sealer(), FIRST
    path = tmp_path / "host-1"
    path.mkdir()
    lines = b""
    odd = ({"x": 1}, {"x": [1]}, {"x": [[], 1]}, {"x": ["1", "2"]}, {"records": None})
    for seq, body in enumerate(({"segment": 1, "key": None}, *odd)):
        kind = "genesis" if not seq else ("anchor", "lost", "cut", "mended")[seq % 4]
        record = sealer.record("host-1", seq, 1.0, kind, body, prev)
        prev, lines = record.hash, lines + record.line()
    (path / "00000001.jsonl").write_bytes(lines)
    assert not found(tmp_path, sealer).intact


def test_a_folder_of_a_chain_that_was_never_begun_is_no_problem(tmp_path: Path) -> None:
    """A kill between the folder and the first record."""
    chain(tmp_path, Sealer()).close()

    (tmp_path / "host-2").mkdir()
    write_head(tmp_path / "host-2", Head(-1, FIRST), Sealer())
    assert found(tmp_path, Sealer()).intact
    Chain.open(tmp_path, "host", Sealer(), (1.0, "start", {})).close()
    assert found(tmp_path, Sealer()).intact


def _changed_line(folder: Path, change: Callable[[bytes, Sealer], bytes], sealer: Sealer) -> Path:
    """Changes one record in the middle of a file."""
    file = segments(folder / "host-2")[1]
    lines = file.read_bytes().splitlines(keepends=True)
    lines[1] = change(lines[1], sealer)
    file.write_bytes(b"".join(lines))
    return folder


def _forged(line: bytes, sealer: Sealer) -> bytes:
    """As whoever has the key could make it: sound by itself."""
    record = parse(line[:-1])
    assert record is not None
    fields = {**record.hashed(), "body": {"action": "allow"}}
    return Record(**fields, hash=sealer.hash(fields)).line()


def _spaced(line: bytes, sealer: Sealer) -> bytes:
    return json.dumps(json.loads(line)).encode() + b"\n"


@pytest.mark.parametrize(
    ("change", "at", "said"),
    [(_forged, 3, "does not follow on the record before it"), (_spaced, 2, "is no record")],
)
def test_a_record_that_is_sound_by_itself_is_found_too(
    past: Path, sealer: Sealer, place: Path, change: Any, at: int, said: str
) -> None:
    folder = _changed_line(copied(past, place), change, sealer)
    first = found(folder, sealer).problems[0]
    assert (first.file, first.line, first.what) == ("host-2/00000002.jsonl", at, said)


def test_what_a_kill_has_left_may_not_be_edited_either(
    past: Path, sealer: Sealer, place: Path
) -> None:
    folder = copied(past, place)
    (file,) = (one for one in files(folder) if b"\n" + TORN + b"\n" in one.read_bytes())
    raw = file.read_bytes()
    start = raw.index(TORN + b"\n")
    for at in range(start, start + len(TORN)):
        file.write_bytes(raw[:at] + b"~" + raw[at + 1 :])
        assert not found(folder, sealer).intact


def test_a_chain_under_another_name_is_another_chain(
    past: Path, sealer: Sealer, place: Path
) -> None:
    folder = copied(past, place)
    (folder / "host-1").rename(folder / "host-9")
    problems = " ".join(map(str, found(folder, sealer).problems))
    assert "is of another chain: 'host-1'" in problems
    assert "host-1: the whole chain is missing" in problems


def test_records_stay_in_their_files(past: Path, sealer: Sealer, place: Path) -> None:
    """Moved over the border of two files, they are in order still."""
    folder = copied(past, place)
    one, two = segments(folder / "host-2")[:2]
    lines = two.read_bytes().splitlines(keepends=True)
    two.write_bytes(b"".join(lines[1:]))
    one.write_bytes(one.read_bytes() + lines[0])
    problems = " ".join(map(str, found(folder, sealer).problems))
    assert "does not stand where a record of kind 'segment' does" in problems
