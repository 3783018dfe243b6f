"""A bundle that is exchanged while it is served: its folder is watched, what it holds is proved.

The folder is the pointer. Whatever replaces it whole (`guard targets`, `guard calibrate`,
`guard compile --out`, a symlink that is switched) reaches each process that looks there: those of
one server, and replicas that share a disk. A version that does not prove sound is refused, and the
one before stays in force. Knows no engine: who serves says how a version is loaded and checked.
"""

import logging
import math
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, Literal, Protocol, TypeVar

from guard.bundle import MANIFEST, Bundle, version_at
from guard.errors import BundleError, EngineError
from guard.events import Refused
from guard.logs import told
from guard.recorder import Recorder

logger = logging.getLogger("vllm.guard")

RELOAD = "GUARD_RELOAD"  # environment: seconds between two looks, or ``off``
SECONDS = 1.0
_LEAST = 0.05
_GONE = 5  # looks that find no bundle until that is said: while it is replaced, there is none
_MOST = 64  # looks until a version that was refused is tried again, at most

Result = Literal["same", "served", "refused", "later"]
_Mark = tuple[int, ...]


class Serves(Protocol):
    """A bundle as somebody serves it."""

    @property
    def version(self) -> str:
        """The bundle's version."""
        ...

    @property
    def bundle(self) -> Bundle:
        """The bundle."""
        ...


S = TypeVar("S", bound=Serves)


def reload_seconds() -> float | None:
    """Returns how many seconds lie between two looks; None where nobody looks.

    Raises:
        EngineError: The environment says something else.
    """
    value = os.environ.get(RELOAD, "")
    if value in ("", "off"):
        return None if value else SECONDS
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not _LEAST <= seconds < math.inf:
        raise EngineError(f"{RELOAD}={value}: give off, or seconds between looks, {_LEAST} or more")
    return seconds


class Reloader(Generic[S]):
    """Watches a bundle's folder, and has what it holds served.

    Args:
        folder: The folder; a symlink to one may be switched.
        serves: What is served now.
        load: Loads what a folder holds and checks all that a start checks, given what is served
            now. Whatever it raises is a refusal.
        swap: Puts what was loaded in force, by exchanging one reference.
        recorder: Is told of each version that is served or refused.
        seconds: Between two looks.
    """

    def __init__(
        self,
        folder: Path,
        serves: S,
        load: Callable[[Path, S], S],
        swap: Callable[[S], None],
        recorder: Recorder,
        seconds: float = SECONDS,
    ) -> None:
        self._folder, self._seconds = folder, seconds
        self._serves, self._load, self._swap, self._record = serves, load, swap, recorder
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._settled: _Mark | None = None  # what is in the folder, where that is served
        self._missing = 0  # looks in a row that found no bundle
        self._refused: _Mark | None = None  # what is in the folder, where that was refused
        self._said: tuple[_Mark | None, str] | None = None  # the refusal that was told last
        self._wait = self._waits = 0  # looks until it is tried again; how many that were last

    def start(self) -> None:
        """Looks from now on, in a thread of its own, until `close`."""
        threading.Thread(target=self._run, name="guard-reload", daemon=True).start()

    def close(self) -> None:
        """Looks no more."""
        self._ended.set()

    def look(self) -> Result:
        """Looks once, and deals with what is there.

        Returns:
            ``same`` where nothing is new; ``later`` where what is there is being replaced, or was
            refused and is not tried again yet.
        """
        with self._lock:
            found = _mark(self._folder)
            if found is None:
                self._missing += 1
                if self._missing != _GONE:
                    return "later"
                return self._refuse(None, BundleError(f"{self._folder}: holds no bundle any more"))
            self._missing = 0
            if found == self._settled:
                return "same"
            if found == self._refused and self._wait:
                self._wait -= 1
                return "later"
            return self._taken(found)

    def _taken(self, found: _Mark) -> Result:
        version = None
        try:
            # Where a symlink is switched meanwhile, the files go on coming from one folder.
            folder = self._folder.resolve(strict=True)
            version = version_at(folder)
            new = None if version == self._serves.version else self._load(folder, self._serves)
        except Exception as error:
            if _mark(self._folder) != found:  # replaced meanwhile: the next look tells
                return "later"
            return self._refuse(found, error, version)
        self._settled, self._refused, self._said = found, None, None
        self._wait = self._waits = 0
        if new is None or new.version == self._serves.version:
            return "same"
        before, self._serves = self._serves, new
        self._swap(new)
        self._record.serving(new.bundle)
        logger.info(
            "guard: live: bundle %s, %d targets, in place of bundle %s",
            new.version, len(new.bundle.manifest.targets), before.version,
        )  # fmt: skip
        return "served"

    def _refuse(self, found: _Mark | None, error: Exception, version: str | None = None) -> Result:
        """Leaves what is served in force; says so once, however often it is tried again.

        Again, because files may come one by one to a disk that is shared, and disks come back.
        """
        self._waits = min(2 * self._waits or 1, _MOST) if found == self._refused else 1
        self._settled, self._refused, self._wait = None, found, self._waits
        # Not the message of an unknown error: it could quote a forget set.
        known = type(error).__module__.startswith("guard.")
        reason = str(error) if known else type(error).__name__
        if self._said != (found, reason):
            self._said = found, reason
            event = Refused(version, self._serves.version, type(error).__name__)
            self._record(event)
            logger.error(
                "guard: the new bundle is refused, bundle %s stays in force: %s",
                self._serves.version, reason, extra=told(event),
            )  # fmt: skip
        return "refused"

    def _run(self) -> None:
        while not self._ended.wait(self._seconds):
            try:
                self.look()
            except Exception as error:  # an audit that cannot be written, say: it goes on looking
                logger.error("guard: reload: %s", type(error).__name__)


def _mark(folder: Path) -> _Mark | None:
    """What tells one manifest from another without reading it; None where there is none."""
    try:
        stat = (folder / MANIFEST).stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
