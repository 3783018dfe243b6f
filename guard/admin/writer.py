"""Changes of the bundle: one at a time, whole or not at all, for one version, and audited."""

import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from guard.admin.errors import StaleError
from guard.audit.changes import recorded
from guard.bundle import MANIFEST, Bundle, load_bundle
from guard.errors import BusyError
from guard.versions import alone

logger = logging.getLogger("guard.admin")

PATIENCE = 5.0  # seconds that a change waits for another one
_STALE = 3600.0  # seconds after which what a kill left is nobody's any more

Report = Callable[[str], None]
Needed = Callable[[Bundle], bool]
Make = Callable[[Report], Bundle]


@dataclass(frozen=True)
class Change:
    """What became of a change.

    Attributes:
        before: The version before.
        after: The version now.
    """

    before: str
    after: str

    @property
    def changed(self) -> bool:
        """Whether there is a new version."""
        return self.before != self.after


@dataclass
class Progress:
    """A change that is under way.

    Attributes:
        command: What it does.
        who: Who wants it.
        since: When it was begun, in seconds since 1970.
        step: What it does now.
    """

    command: str
    who: str
    since: float
    step: str = ""


class Writer:
    """Changes one bundle in place.

    Args:
        folder: The bundle.
        audit: Where changes are recorded; where the environment says, without.
        patience: Seconds that a change waits for another one, of this process or of any.

    Attributes:
        progress: The change that is under way.
    """

    def __init__(self, folder: Path, audit: Path | None, patience: float = PATIENCE) -> None:
        self.folder, self._audit, self._patience = folder, audit, patience
        self._turn = threading.Lock()
        self.progress: Progress | None = None

    def __call__(
        self, command: str, who: str, expected: str | None, needed: Needed, make: Make
    ) -> Change:
        """Makes a change.

        Args:
            command: What it is called in the audit.
            who: Who wants it.
            expected: The version that it is meant for; any without.
            needed: Whether there is something to change; nothing is written otherwise.
            make: Writes the new version.

        Raises:
            BusyError: Somebody else changes the bundle for longer than is waited for.
            StaleError: The bundle is another version.
            GuardError: It cannot be made. Nothing is written then, or the message says what was.
        """
        with self._alone(command, who) as report:
            before = load_bundle(self.folder)
            if expected is not None and expected != before.version:
                raise StaleError(
                    f"The bundle is version {before.version} by now, not {expected}: look at it "
                    "again, and change that."
                )
            if not needed(before):
                return Change(before.version, before.version)
            _tidy(self.folder)
            with recorded(self._audit, command, self.folder, by=who) as note:
                after = make(report)
                note(after)
            logger.info("%s by %s: version %s -> %s", command, who, before.version, after.version)
            return Change(before.version, after.version)

    @contextmanager
    def _alone(self, command: str, who: str) -> Iterator[Report]:
        progress = Progress(command, who, time.time())
        if not self._turn.acquire(timeout=self._patience):
            raise BusyError("Another change is under way; try again when it is done.")

        def report(line: str) -> None:
            progress.step = line

        try:
            self.progress = progress
            with alone(self.folder, None, self._patience):
                yield report
        finally:
            self.progress = None
            self._turn.release()


def _tidy(folder: Path) -> None:
    """Takes away what kills have left of earlier changes: it may hold what was revoked since."""
    for left in folder.parent.glob(f".{folder.name}.*"):
        try:
            old = time.time() - left.stat().st_mtime > _STALE
        except OSError:
            continue
        inside = next(left.glob(f"**/{MANIFEST}"), None) if left.is_dir() else None
        arrays = next(left.glob("*.safetensors"), None) if left.is_dir() else None
        if old and (inside or arrays):
            shutil.rmtree(left, ignore_errors=True)
