"""Events on their way into a chain: a bounded queue, and one thread that writes.

The thread takes whatever has come in while it was busy and writes it in one go, with one wait for
the disk, so records come in batches by themselves when there is much to tell. Where it cannot
write, it keeps what it has and tries again.
"""

import logging
import multiprocessing.util
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

from guard import __version__
from guard.audit.chain import Chain, Item
from guard.audit.settings import AuditSettings
from guard.errors import AuditError

logger = logging.getLogger("vllm.guard")

_TOGETHER = 512  # records that are written in one go
_AGAIN = 1.0  # seconds until writing is tried again
_WAIT = 5.0  # seconds that a request waits for its record
_END = 10.0  # seconds that the end waits for the disk

_Entry = tuple[Item, "Future[None] | None"]


class Trail:
    """Writes one process's chain.

    Args:
        settings: How.
        start: What the chain is told of this process.
        most: How many records may wait.
        anchor_seconds: How often the other chains' heads and the tally are noted.
        lost: Is told of each record that could not be kept.
        open_chain: Opens the chain.

    Raises:
        AuditError: The folder cannot be written.
    """

    def __init__(
        self,
        settings: AuditSettings,
        start: Mapping[str, Any],
        *,
        most: int = 8192,
        anchor_seconds: float = 60.0,
        lost: Callable[[], None] = lambda: None,
        open_chain: Callable[..., Chain] = Chain.open,
    ) -> None:
        self.settings = settings
        self._told_lost, self._anchor_seconds = lost, anchor_seconds
        self._entries: queue.Queue[_Entry | None] = queue.Queue(most)
        self._lock = threading.Lock()
        self._tally: dict[str, int] = {}
        self._lost = 0
        self._failing = self._closed = False
        body = {"pid": os.getpid(), "guard": __version__, **start}
        item = (time.time(), "start", body)
        self._chain = open_chain(settings.folder, settings.writer, settings.sealer, item)
        self._anchored: Mapping[str, Any] = {}
        self._thread = threading.Thread(target=self._work, name="guard-audit", daemon=True)
        self._thread.start()
        # Not `atexit`, which a process that multiprocessing has started ends without.
        multiprocessing.util.Finalize(None, self.close, exitpriority=10)

    def tally(self, action: str) -> None:
        """Counts what is not recorded one by one."""
        with self._lock:
            self._tally[action] = self._tally.get(action, 0) + 1

    def put(self, time: float, kind: str, body: Mapping[str, Any], *, must: bool) -> None:
        """Has a record written.

        Args:
            time: When it happened, in seconds since 1970.
            kind: What it tells.
            body: The rest; JSON.
            must: Whether what it tells must not happen without it; see `AuditSettings.on_error`.

        Raises:
            AuditError: It must be written, and cannot be.
        """
        closed = must and self.settings.on_error == "closed"
        if closed and self._failing:
            raise AuditError("the audit cannot be written")
        written: Future[None] | None = None
        if closed and self.settings.sync == "wait":
            written = Future()
        try:
            if self._closed:
                raise queue.Full
            self._entries.put_nowait(((time, kind, body), written))
        except queue.Full:
            if closed:
                raise AuditError("too many audit records wait to be written") from None
            with self._lock:
                self._lost += 1
            self._told_lost()
            return
        if written is not None:
            try:
                written.result(_WAIT)
            except FutureTimeout:
                raise AuditError(f"the audit was not written within {_WAIT:g} s") from None

    def close(self) -> None:
        """Writes what waits, and ends; nothing is recorded any more."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        try:
            self._entries.put(None, timeout=_END)
        except queue.Full:
            return
        self._thread.join(_END)

    def _work(self) -> None:
        try:
            self._run()
        finally:
            self._failing = True  # nobody writes any more

    def _run(self) -> None:
        anchored = time.monotonic()
        while True:
            entries, ended = self._taken(max(anchored + self._anchor_seconds - time.monotonic(), 0))
            items = [item for item, _ in entries]
            due = ended or time.monotonic() - anchored >= self._anchor_seconds
            if due:
                anchored = time.monotonic()
            items += self._own(due=due)
            if ended:
                items.append((time.time(), "stop", {}))
            if items and not self._written(items, ended=ended):
                return
            for _, written in entries:
                if written is not None:
                    written.set_result(None)
            if ended:
                self._chain.abandon()
                return

    def _taken(self, patience: float) -> tuple[list[_Entry], bool]:
        """What waits, and whether that is all there will be."""
        entries: list[_Entry] = []
        try:
            entry = self._entries.get(timeout=patience)
            while entry is not None:
                entries.append(entry)
                if len(entries) == _TOGETHER:
                    return entries, False
                entry = self._entries.get_nowait()
        except queue.Empty:
            return entries, False
        return entries, True

    def _own(self, *, due: bool) -> Sequence[Item]:
        """What the trail has to say itself."""
        now, items = time.time(), list[Item]()
        with self._lock:
            if self._lost:
                items.append((now, "lost", {"records": self._lost}))
                self._lost = 0
            if due and self._tally:
                items.append((now, "tally", self._tally))
                self._tally = {}
        if due:
            try:
                heads = self._chain.anchor()
            except (AuditError, OSError):
                heads = {}  # the write that follows fails too, and says so
            moved = {one: head for one, head in heads.items() if head != self._anchored.get(one)}
            if moved:
                self._anchored = heads
                items.append((now, "anchor", moved))
        return items

    def _written(self, items: list[Item], *, ended: bool) -> bool:
        """Writes, for as long as it takes; False where the end comes first."""
        deadline = time.monotonic() + _END
        while True:
            try:
                if self._failing:
                    self._chain.recover(items[0])
                    # What a write that failed has left whole is not written again.
                    items, self._chain.kept = items[self._chain.kept :], 0
                if items:
                    self._chain.append(items)
            except (AuditError, OSError) as error:
                if not self._failing:
                    logger.error("guard: the audit cannot be written (%s)", type(error).__name__)
                self._failing = True
                if (ended or self._closed) and time.monotonic() > deadline:
                    return False
                time.sleep(_AGAIN)
            else:
                if self._failing:
                    logger.warning("guard: the audit is written again")
                self._failing = False
                return True
