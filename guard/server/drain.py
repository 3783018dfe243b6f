"""The end of a server that is not the end of its answers.

vLLM's own drain (``--shutdown-timeout``) gives whoever comes meanwhile an empty answer with status
200, and so ends an answer, too, that a check takes back and asks anew. So the guard drains before
vLLM is told to end: its parent says so to each process that answers, by a file, and learns by a
lock, which the kernel lets go of whatever becomes of a process, when nothing runs any more.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

FOLDER = "GUARD_DRAIN"  # environment: where parent and processes meet
SECONDS = 25  # of ``--shutdown-timeout``, if it is not given: Kubernetes kills after 30
_BEGUN, _BUSY = "begun", "busy"


class Drain:
    """The parent's side.

    Attributes:
        folder: What the processes are told by `FOLDER`.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="guard-drain-"))
        self._busy = os.open(self.folder / _BUSY, os.O_RDWR | os.O_CREAT, 0o600)

    def __call__(self, seconds: float, stop: Callable[[], bool]) -> bool:
        """Has requests refused from now on, and waits for those that run.

        Args:
            seconds: How long at most.
            stop: Whether to wait no longer.

        Returns:
            Whether all have ended.
        """
        (self.folder / _BEGUN).touch()
        deadline = time.monotonic() + seconds
        while not (free := _locked(self._busy, fcntl.LOCK_EX)):
            if stop() or time.monotonic() > deadline:
                break
            time.sleep(0.05)
        return free  # and kept: whoever comes between look and lock is refused

    def close(self) -> None:
        """Takes the folder away."""
        os.close(self._busy)
        shutil.rmtree(self.folder, ignore_errors=True)


class Running:
    """The side of a process that answers: which of its requests run.

    Args:
        folder: Where it meets its parent; without, nothing is ever drained.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._count = 0
        self._busy = None if folder is None else os.open(folder / _BUSY, os.O_RDWR)

    @classmethod
    def from_environment(cls) -> "Running":
        """Makes it as the environment says."""
        folder = os.environ.get(FOLDER)
        return cls(Path(folder) if folder else None)

    @property
    def draining(self) -> bool:
        """Whether requests are to be refused."""
        return self._folder is not None and (self._folder / _BEGUN).exists()

    def enter(self) -> bool:
        """Takes a request in; returns whether it may run, and then has to `leave`."""
        if self._busy is None:
            return True
        if self._count == 0 and not _locked(self._busy, fcntl.LOCK_SH):
            return False
        self._count += 1
        if self.draining:  # asked after the lock: a parent that saw none is told of by the file
            self.leave()
            return False
        return True

    def leave(self) -> None:
        """Says that a request has ended."""
        if self._busy is None:
            return
        self._count -= 1
        if self._count == 0:
            fcntl.flock(self._busy, fcntl.LOCK_UN)


def _locked(file: int, kind: int) -> bool:
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(file, kind | fcntl.LOCK_NB)
        return True
    return False
