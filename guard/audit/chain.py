"""One writer's chain, open for writing.

Files are only ever appended to, so they may lie where nothing else is allowed (``chattr +a``).
What a kill or a full disk left of a line stays there; the record behind it says how much it is.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from guard.audit.ending import end_of
from guard.audit.folder import (
    LOCK,
    Head,
    read_head,
    segment,
    segments,
    sync_folder,
    write_head,
    writers,
)
from guard.audit.record import FIRST, Sealer, parse
from guard.errors import AuditError

FORMAT = 1
SEGMENT_BYTES = 16 << 20  # of a file, after which the next one is begun
_MOST = 1000  # chains of one name

Item = tuple[float, str, Mapping[str, Any]]  # time, kind, body


class Chain:
    """A chain that this process alone writes; for one thread at a time. Use `Chain.open`.

    Attributes:
        path: Its folder.
        kept: Of an `append` that failed, how many items are on disk all the same; known once
            `recover` has been called, and for whoever reads it to set to 0 again.
    """

    def __init__(self, path: Path, lock: FileLock, sealer: Sealer, segment_bytes: int) -> None:
        self.path = path
        self.kept = 0
        self._first: int | None = None  # the number of the first item of an append that failed
        self._lock, self._sealer, self._segment_bytes = lock, sealer, segment_bytes
        self._head = Head(-1, FIRST)
        self._file: int | None = None
        self._number = self._size = 0
        # What the record that begins a file says of what is torn before it; None behind it.
        self._opening: dict[str, Any] | None = None

    @classmethod
    def open(
        cls,
        folder: Path,
        name: str,
        sealer: Sealer,
        start: Item,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> "Chain":
        """Opens the first chain of a name that no other process writes, or begins one.

        Args:
            folder: The audit's folder; made where there is none.
            name: The chain's name is this and a number.
            sealer: Makes the hashes.
            start: What the chain is told first: who writes, for which bundle.
            segment_bytes: How large a file may grow.

        Raises:
            AuditError: The folder cannot be written, or the chain goes by another key.
        """
        try:
            for number in range(1, _MOST):
                path = folder / f"{name}-{number}"
                path.mkdir(parents=True, exist_ok=True, mode=0o700)
                try:
                    return cls.resume(path, sealer, start, segment_bytes)
                except Timeout:
                    continue
        except (OSError, NotImplementedError) as error:
            said = error.strerror if isinstance(error, OSError) else "it has no file locks"
            raise AuditError(f"{folder}: the audit cannot be written: {said}") from None
        raise AuditError(f"{folder}: {_MOST} processes write it already under the name {name}")

    @classmethod
    def resume(
        cls, path: Path, sealer: Sealer, start: Item, segment_bytes: int = SEGMENT_BYTES
    ) -> "Chain":
        """Opens one chain.

        Args:
            path: Its folder.
            sealer: Makes the hashes.
            start: What the chain is told first.
            segment_bytes: How large a file may grow.

        Raises:
            Timeout: Another process writes it.
            AuditError: It goes by another key, or cannot be gone on with.
            OSError: It cannot be read or written.
        """
        lock = FileLock(path / LOCK, mode=0o600)
        lock.acquire(timeout=0)
        chain = cls(path, lock, sealer, segment_bytes)
        try:
            chain.recover(start)
            chain.append([start])
        except BaseException:
            chain.abandon()
            raise
        return chain

    def append(self, items: Sequence[Item]) -> None:
        """Adds records; they are on disk when this returns.

        Raises:
            OSError: They are not, or not all of them; `recover` before the next.
        """
        self._first = self._head.seq + 1
        if self._file is None or self._size >= self._segment_bytes:
            self._next_segment()
        self._first += self._opening is not None
        self._add(items)
        self._first = None

    def _add(self, items: Sequence[Item]) -> None:
        head, lines = self._head, []
        if self._opening is not None:
            kind = "segment" if head.seq >= 0 else "genesis"
            told: dict[str, Any] = {"segment": self._number, **self._opening}
            if kind == "genesis":
                told |= {"format": FORMAT, "key": self._sealer.key_id}
                told["bundle"] = items[0][2].get("bundle")
            items = [(items[0][0], kind, told), *items]
        for time, kind, body in items:
            record = self._sealer.record(self.path.name, head.seq + 1, time, kind, body, head.hash)
            head = Head(record.seq, record.hash)
            lines.append(record.line())
        self._write(b"".join(lines))
        write_head(self.path, head, self._sealer)
        self._head, self._opening = head, None

    def anchor(self) -> dict[str, list[Any]]:
        """Returns the heads of the other chains: what an anchor record holds."""
        heads = {}
        for other in writers(self.path.parent):
            head = read_head(other, self._sealer) if other != self.path else None
            if head is not None and head.seq >= 0:
                heads[other.name] = [head.seq, head.hash]
        return heads

    def recover(self, item: Item) -> None:
        """Goes on at the end of what is on disk, and notes what is not as it should be there.

        Args:
            item: What comes next: its time is that of the note.

        Raises:
            AuditError: The chain goes by another key, or cannot be gone on with.
            OSError: The files cannot be read or written.
        """
        self._close()
        files = segments(self.path)
        if not files:
            head = read_head(self.path, self._sealer)
            if head is not None and head.seq >= 0:
                raise AuditError(
                    f"{self.path}: its files are gone; see `guard audit verify`, and give a new "
                    "folder"
                )
            write_head(self.path, Head(-1, FIRST), self._sealer)
            sync_folder(self.path)
            sync_folder(self.path.parent)
            return
        last, torn, begun = end_of(files, self._sealer.key_id)
        self._head = Head(last.seq, last.hash)
        self._number, self._opening = int(files[-1].stem), None if begun else {}
        self._file = os.open(files[-1], os.O_WRONLY | os.O_APPEND)
        self._size = os.fstat(self._file).st_size
        notes: list[Item] = []
        if torn:
            self._write(b"\n")
            rest = parse(torn)
            if rest is not None and (rest.seq, rest.prev) == (last.seq + 1, last.hash):
                self._head, self._opening = Head(rest.seq, rest.hash), None
            else:
                mended = {"bytes": len(torn), "sha256": hashlib.sha256(torn).hexdigest()}
                if begun:
                    notes.append((item[0], "mended", mended))
                else:
                    self._opening = mended
        if self._first is not None:
            self.kept += max(self._head.seq - self._first + 1, 0)
            self._first = None
        if (cut := self._cut()) is not None:
            notes.append((item[0], "cut", cut))
        if notes:
            self._add(notes)

    def close(self, items: Sequence[Item] = ()) -> None:
        """Adds the last records and lets another process have the chain.

        Raises:
            OSError: They are not on disk.
        """
        try:
            if items:
                self.append(items)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Lets another process have the chain, as it is."""
        self._close()
        self._lock.release()

    def _cut(self) -> dict[str, Any] | None:
        """What is wrong where the chain ends before its head; the head is never ahead of it."""
        head = read_head(self.path, self._sealer)
        if head is None:
            return {"what": "the head is missing or not genuine"}
        if head.seq > self._head.seq:
            return {"what": "records are missing", "head": head.seq, "found": self._head.seq}
        return None

    def _next_segment(self) -> None:
        self._close()
        path = segment(self.path, self._number + 1)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        self._file = os.open(path, flags, 0o600)
        sync_folder(self.path)
        self._number, self._size, self._opening = self._number + 1, 0, {}

    def _write(self, raw: bytes) -> None:
        assert self._file is not None
        while raw:
            written = os.write(self._file, raw)
            self._size += written
            raw = raw[written:]
        os.fsync(self._file)

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
