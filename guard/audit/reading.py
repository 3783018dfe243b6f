"""Reads one chain from its first record on, and notes whatever is not as it was written."""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from guard.audit.folder import HEAD, Head, read_head, segment, segments
from guard.audit.note import Note
from guard.audit.record import FIRST, Record, Sealer, parse
from guard.errors import AuditError

_PATIENCE = 3  # times that a line without an end is looked at again


@dataclass
class _Torn:
    """Lines that are no records, until the one behind them tells whether it knows of them."""

    lines: list[bytes] = field(default_factory=list)
    places: list[tuple[str, int]] = field(default_factory=list)


class Reading:
    """A chain that is read; it may be written to meanwhile.

    Args:
        path: Its folder.
        sealer: Checks the hashes.

    Attributes:
        problems: What cannot have been written so.
        notes: What one should know besides.
        hashes: Of every record, by number.
        records: How many there are.
        anchors: What the chain says of others: where, which, at which number, with which hash.
        last: The last record.
    """

    def __init__(self, path: Path, sealer: Sealer) -> None:
        self.path, self._sealer = path, sealer
        self.problems: list[Note] = []
        self.notes: list[Note] = []
        self.hashes: dict[int, str] = {}
        self.records = 0
        self.anchors: list[tuple[Note, str, int, str]] = []
        self.last: Record | None = None
        self._head: Head | None = read_head(path, sealer)  # before the records: they go on
        self._torn = _Torn()
        self._seq: int | None = 0
        self._prev: str | None = FIRST
        self._number, self._offset, self._line = 1, 0, 0
        self._begins = True  # whether the file's first record is still to come
        self._stopped = True
        self._begun: Note | None = None  # a change whose end is still to come
        self._foreign = False  # whether it goes by another key

    def read(self) -> Iterator[Record]:
        """Reads on to what is the end for now; returns each record, whether or not it is sound.

        Raises:
            AuditError: A file cannot be read, or goes by a key that is not given.
        """
        for file in segments(self.path):
            number = int(file.stem)
            if number < self._number:
                continue
            if number > self._number:
                self._next_file(number)
            try:
                with open(file, "rb") as lines:
                    lines.seek(self._offset)
                    for raw in lines:
                        if not raw.endswith(b"\n"):
                            break
                        self._offset += len(raw)
                        self._line += 1
                        record = parse(raw[:-1])
                        place = self._name(file), self._line
                        if record is None:
                            self._torn.lines.append(raw[:-1])
                            self._torn.places.append(place)
                            continue
                        self._check(record, place)
                        yield record
            except OSError as error:
                raise AuditError(f"{file}: cannot be read: {error.strerror}") from None

    def finish(self) -> None:
        """Checks the end; nothing is read after that."""
        for _ in range(_PATIENCE):
            if self._rest() <= 0:
                break
            time.sleep(0.1)  # a record that is being written at this moment
            for _ in self.read():
                pass
        self._unmended()
        name = self._name(segment(self.path, self._number))
        if self._rest() > 0:
            self._problem(
                name, self._line + 1, "torn: a kill while it was written, or a cut; the next start "
                "of this writer, or `guard audit mend`, notes which"
            )  # fmt: skip
        end = self.last.seq if self.last is not None else -1
        where = self._name(self.path / HEAD)
        if self._head is None:
            self._problem(where, None, "missing, or not genuine: the chain's end is not known")
        elif self._head.seq > end:
            self._problem(
                name, None,
                f"cut: record {self._head.seq} was written once, and the last one here is {end}",
            )  # fmt: skip
        elif self._head.seq >= 0 and self.hashes.get(self._head.seq) != self._head.hash:
            self._problem(where, None, f"names another record {self._head.seq} than there is")
        self._unended()
        if self.last is not None and not self._stopped:
            self.notes.append(
                Note(name, self._line, "has no `stop` at its end: it is written now, or was killed")
            )

    def _rest(self) -> int:
        """Bytes behind the last whole line."""
        file = segment(self.path, self._number)
        return file.stat().st_size - self._offset if file.exists() else 0

    def names(self, seq: int, digest: str) -> bool:
        """Whether the chain has this record."""
        return self.hashes.get(seq) == digest

    def _check(self, record: Record, place: tuple[str, int]) -> None:
        mends = self._mends(record, place)
        if not mends:
            self._unmended()
        self._torn = _Torn()
        problem = self._wrong(record)
        if problem:
            self._problem(*place, problem)
        if problem is None:
            self.hashes[record.seq] = record.hash
            self._told(record, place)
        self.records += 1
        self.last = record
        self._seq, self._prev, self._begins = record.seq + 1, record.hash, False

    def _wrong(self, record: Record) -> str | None:
        """What is wrong with a record; None where nothing is."""
        if record.writer != self.path.name:
            return f"is of another chain: {record.writer[:80]!r}"
        if record.seq == 0 and record.body.get("key") != self._sealer.key_id:
            if self._sealer.key_id is None:
                raise AuditError(f"{self.path}: goes by a key; set GUARD_AUDIT_KEY to it")
            self._foreign = True
            return "goes by another key than GUARD_AUDIT_KEY, or by none: it proves nothing"
        if not self._sealer.holds(record):
            if self._foreign:
                return ""  # said once
            return "was edited: its hash is not its own"
        if self._seq is not None and record.seq != self._seq:
            between = f"record {self._seq} was to come, and {record.seq} does"
            if record.seq > self._seq:
                return f"gap: {between}"
            return f"is out of order, or there twice: {between}"
        if self._prev is not None and record.prev != self._prev:
            return "does not follow on the record before it"
        opens = "genesis" if self._number == 1 else "segment"
        if (record.kind in ("genesis", "segment")) != self._begins or (
            self._begins and (record.kind, record.body.get("segment")) != (opens, self._number)
        ):
            return f"does not stand where a record of kind {record.kind[:20]!r} does"
        return None

    def _mends(self, record: Record, place: tuple[str, int]) -> bool:
        """Whether a record knows of the torn lines before it."""
        size, digest = record.body.get("bytes"), record.body.get("sha256")
        if record.kind not in ("mended", "genesis", "segment") or size is None:
            return not self._torn.lines
        torn = b"\n".join(self._torn.lines)
        if size == len(torn) and digest == hashlib.sha256(torn).hexdigest() and self._torn.lines:
            self.notes.append(Note(*self._torn.places[0], "torn by a kill, and mended"))
            return True
        self._problem(*place, "tells of a torn line that is not before it")
        return False

    def _told(self, record: Record, place: tuple[str, int]) -> None:
        """What a sound record says of the audit itself."""
        note, body = Note(*place, ""), record.body
        if record.kind == "anchor":
            for writer, named in body.items():
                if isinstance(named, list) and [type(one) for one in named] == [int, str]:
                    self.anchors.append((note, writer, named[0], named[1]))
        elif record.kind == "cut":
            self._problem(*place, f"when it was gone on with: {body.get('what')}")
        elif record.kind == "lost":
            lost = f"{body.get('records')} records were lost: they could not be written in time"
            self.notes.append(Note(*place, lost))
        elif record.kind == "start" and not self._stopped:
            self.notes.append(
                Note(*place, "the one before was killed: what it had not written yet is lost")
            )
        if record.kind == "begun":
            self._begun = Note(*place, "a change was begun here, and what became of it is not told")
        elif record.kind in ("changed", "abandoned", "unchanged"):
            self._begun = None
        if record.kind in ("start", "stop"):
            self._unended()
            self._stopped = record.kind == "stop"

    def _unended(self) -> None:
        """A change that a kill came into may have been made or not."""
        if self._begun is not None:
            self.notes.append(self._begun)
            self._begun = None

    def _unmended(self) -> None:
        """Lines that nobody has said anything of are not records, and never were."""
        for place in self._torn.places:
            self._problem(*place, "is no record")
        if self._torn.places:
            self._seq = self._prev = None  # how many records these were cannot be told
        self._torn = _Torn()

    def _next_file(self, number: int) -> None:
        self._unmended()
        for missing in range(self._number + 1, number):
            self._problem(self._name(segment(self.path, missing)), None, "missing")
        if self._number == 1 and not segment(self.path, 1).exists():
            self._problem(self._name(segment(self.path, 1)), None, "missing")
        elif segment(self.path, self._number).exists():
            size = segment(self.path, self._number).stat().st_size
            if size != self._offset:
                self._problem(
                    self._name(segment(self.path, self._number)), self._line + 1, "is no record"
                )
        self._number, self._offset, self._line, self._begins = number, 0, 0, True

    def _problem(self, file: str, line: int | None, what: str) -> None:
        self.problems.append(Note(file, line, what))

    def _name(self, file: Path) -> str:
        return f"{self.path.name}/{file.name}"
