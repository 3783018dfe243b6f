"""Whether an audit is as it was written: each chain by itself, and by what others say of it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from guard.audit.folder import Head, writers
from guard.audit.note import Note
from guard.audit.reading import Reading
from guard.audit.record import Record, Sealer
from guard.errors import AuditError

_MOST = 50  # problems that are told to people


@dataclass
class Verdict:
    """What was found.

    Attributes:
        problems: What cannot have been written so; none where nobody has touched the audit.
        notes: What one should know besides: kills, lost records.
        heads: The last record of each chain.
        records: How many records there are in each.
    """

    problems: list[Note] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    heads: dict[str, Head] = field(default_factory=dict)
    records: dict[str, int] = field(default_factory=dict)

    @property
    def intact(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON form that ``guard audit verify --json`` prints."""
        return {
            "intact": self.intact,
            "problems": [vars(note) for note in self.problems],
            "notes": [vars(note) for note in self.notes],
            "records": self.records,
            "heads": {writer: [head.seq, head.hash] for writer, head in self.heads.items()},
        }

    def lines(self) -> Iterator[str]:
        """Returns it for people to read."""
        yield from (f"PROBLEM {note}" for note in self.problems[:_MOST])
        if len(self.problems) > _MOST:
            yield f"PROBLEM … and {len(self.problems) - _MOST} more (--json has all)"
        yield from (f"note    {note}" for note in self.notes)
        for writer, head in self.heads.items():
            yield f"chain   {writer}: {self.records[writer]} records, the last: {head.hash}"
        found = len(self.problems)
        yield (
            f"intact: {sum(self.records.values())} records"
            if self.intact
            else (f"NOT INTACT: {found} {'problem' if found == 1 else 'problems'}")
        )


class Verifier:
    """Reads an audit once and judges it.

    Args:
        folder: The audit.
        sealer: Checks the hashes.
        since: The heads that an earlier verdict named.

    Raises:
        AuditError: There is no audit there.
    """

    def __init__(
        self, folder: Path, sealer: Sealer, since: Mapping[str, Head] | None = None
    ) -> None:
        self._folder, self._sealer, self._since = folder, sealer, since or {}
        self._readings = {path.name: Reading(path, sealer) for path in writers(folder)}
        if not self._readings:
            raise AuditError(f"{folder}: there is no audit in it")

    def records(self) -> Iterator[Record]:
        """Reads all records, chain by chain."""
        for reading in self._readings.values():
            yield from reading.read()

    def verdict(self) -> Verdict:
        """Judges what was read, and what has come since."""
        verdict = Verdict()
        named = [(r.path.name, *one) for r in self._readings.values() for one in r.anchors]
        given = [("", Note("", None, ""), w, h.seq, h.hash) for w, h in self._since.items()]
        for by, note, writer, seq, digest in (*named, *given):
            wrong = self._missing(writer, seq, digest)
            if wrong is not None:
                says = f"{note.file}:{note.line} has it" if by else "the earlier verdict has it"
                verdict.problems.append(Note(writer, None, f"{wrong} ({says})"))
        for name, reading in self._readings.items():
            for _ in reading.read():
                pass  # what was written while the others were read
            reading.finish()
            verdict.problems += reading.problems
            verdict.notes += reading.notes
            verdict.records[name] = reading.records
            if reading.last is not None:
                verdict.heads[name] = Head(reading.last.seq, reading.last.hash)
        verdict.problems = list(dict.fromkeys(verdict.problems))
        return verdict

    def _missing(self, writer: str, seq: int, digest: str) -> str | None:
        reading = self._readings.get(writer)
        if reading is None:
            return "the whole chain is missing"
        if seq not in reading.hashes:
            for _ in reading.read():  # written since
                pass
        if reading.names(seq, digest):
            return None
        have = "another one" if seq in reading.hashes else "none"
        return f"record {seq} was another one once, or is missing: there is {have}"


def verify(folder: Path, sealer: Sealer, since: Mapping[str, Head] | None = None) -> Verdict:
    """Verifies an audit.

    Args:
        folder: The audit.
        sealer: Checks the hashes.
        since: The heads that an earlier verdict named; see `read_heads`.

    Raises:
        AuditError: There is no audit there, or it goes by a key that is not given.
    """
    verifier = Verifier(folder, sealer, since)
    for _ in verifier.records():
        pass
    return verifier.verdict()


def read_heads(file: Path) -> dict[str, Head]:
    """Reads the heads of a verdict that was kept (``guard audit verify --json``).

    Raises:
        AuditError: It is none.
    """
    try:
        value = json.loads(file.read_bytes())
        return {str(writer): Head(int(s), str(h)) for writer, (s, h) in value["heads"].items()}
    except OSError as error:
        raise AuditError(f"{file}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise AuditError(
            f"{file}: heads: give what `guard audit verify --json` has printed"
        ) from None
