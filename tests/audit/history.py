"""An audit with a past: two chains, several files, a kill that was mended, anchors both ways."""

import json
import shutil
from pathlib import Path

from guard.audit.chain import Chain
from guard.audit.folder import Head, segments, write_head
from guard.audit.record import FIRST, Sealer, parse
from guard.audit.verify import Verdict, verify

KEY = b"a key of the tests, which is long enough"
TORN = b'{"at":"2026-11-22T08:5'
SMALL = 800  # bytes of a file: a few records


def chain(folder: Path, sealer: Sealer, name: str = "host") -> Chain:
    start = (1.0, "start", {"bundle": "b1", "role": "test"})
    return Chain.open(folder, name, sealer, start, SMALL)


def write(folder: Path, sealer: Sealer) -> Path:
    """Writes it."""
    one, two = chain(folder, sealer), chain(folder, sealer)
    for number in range(6):
        one.append([(2.0 + number, "decided", {"action": "refuse", "number": number})])
        two.append([(2.0 + number, "hit", {"action": "filter", "number": number})])
    two.append([(9.0, "anchor", two.anchor())])
    one.abandon()  # as a kill leaves it …
    (last,) = segments(folder / "host-1")[-1:]
    with open(last, "ab") as file:
        file.write(TORN)  # … and in the middle of a line
    one = chain(folder, sealer)
    one.append([(10.0, "decided", {"action": "allow"}), (11.0, "anchor", one.anchor())])
    one.close([(12.0, "stop", {})])
    two.append([(12.5, "anchor", two.anchor())])
    two.close([(13.0, "stop", {})])
    return folder


def files(folder: Path) -> list[Path]:
    """All files of records."""
    return [file for path in sorted(folder.glob("*/")) for file in segments(path)]


def copied(folder: Path, into: Path) -> Path:
    """A copy that may be spoilt; an earlier one is gone."""
    shutil.rmtree(into, ignore_errors=True)
    shutil.copytree(folder, into)
    return into


def found(folder: Path, sealer: Sealer) -> Verdict:
    """What verifying finds, once it is sure that JSON can hold it."""
    verdict = verify(folder, sealer)
    assert json.loads(json.dumps(verdict.to_dict()))["intact"] == verdict.intact
    assert "intact" in list(verdict.lines())[-1].lower()
    return verdict


def rewrite(path: Path, sealer: Sealer) -> None:
    """Writes a chain anew with another action, as a forger would who has all but the key."""
    prev, seq = FIRST, -1
    for file in segments(path):
        lines = []
        for line in file.read_bytes().splitlines():
            record = parse(line)
            if record is None:
                lines.append(line + b"\n")
                continue
            body = {**record.body, "action": "allow"} if "action" in record.body else record.body
            fields = {"writer": record.writer, "seq": record.seq, "at": record.at}
            fields |= {"kind": record.kind, "body": body, "prev": prev}
            made = type(record)(**fields, hash=sealer.hash(fields))  # type: ignore[arg-type]
            prev, seq = made.hash, made.seq
            lines.append(made.line())
        file.write_bytes(b"".join(lines))

    write_head(path, Head(seq, prev), sealer)
