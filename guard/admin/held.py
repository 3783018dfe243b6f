"""The bundle as it lies in its folder now, loaded once a version."""

import threading
import time
from pathlib import Path

from guard.bundle import MANIFEST, Bundle, load_bundle
from guard.errors import BundleError
from guard.guard import Guard

_TRIES = 5  # to read a folder that is exchanged at this moment

_Mark = tuple[int, int, int]


class Held:
    """A bundle's newest version; for any thread.

    Args:
        folder: The bundle.

    Raises:
        BundleError: It is none.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._mark: _Mark | None = None
        self._bundle = self._load()
        self._guard: Guard | None = None

    def bundle(self) -> Bundle:
        """Returns the newest version.

        Raises:
            BundleError: The folder holds none any more.
        """
        with self._lock:
            if self._mark is None or _mark(self.folder) != self._mark:
                self._bundle = self._load()
            return self._bundle

    def guard(self) -> Guard:
        """Returns what decides by the newest version.

        Raises:
            BundleError: The folder holds none any more.
        """
        bundle = self.bundle()
        with self._lock:
            if self._guard is None or self._guard.version != bundle.version:
                self._guard = Guard(bundle)
            return self._guard

    def _load(self) -> Bundle:
        for left in reversed(range(_TRIES)):
            mark = _mark(self.folder)
            try:
                bundle = load_bundle(self.folder)
            except BundleError:
                if not left:
                    raise
                time.sleep(0.05)
                continue
            # Where the folder was exchanged in between, it is looked at again next time.
            self._mark = mark
            return bundle
        raise AssertionError


def _mark(folder: Path) -> _Mark | None:
    try:
        found = (folder / MANIFEST).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
