"""What systems have said, kept so that a run that was broken off goes on where it was.

These files hold answers, and so what is to be forgotten: they are for whoever runs the benchmark,
readable by nobody else, and no result is made of them but figures.
"""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from guard.errors import GuardError


class Store:
    """A folder of parts, each known by what it was made of.

    Args:
        folder: Where; it is made.

    Raises:
        GuardError: It cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            _private(folder)
        except OSError as error:
            raise GuardError(f"--work: {folder}: cannot be made: {error.strerror}") from None

    def place(self, *names: str) -> Path:
        """Returns a folder for a system's own things; it is made."""
        place = self.folder.joinpath(*map(slug, names))
        _private(place)
        return place

    def read(self, of: Mapping[str, Any]) -> Any:
        """Returns what was made of this; None where nothing was, or the file is damaged."""
        try:
            held = json.loads(self._path(of).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return held["said"] if held.get("of") == json.loads(_canonical(of)) else None

    def write(self, of: Mapping[str, Any], said: Any) -> None:
        """Keeps what was made of something; whole or not at all.

        Raises:
            GuardError: It cannot be written.
        """
        path = self._path(of)
        try:
            _private(path.parent)
            number, name = tempfile.mkstemp(dir=path.parent, prefix=".")  # its owner's alone
            try:
                with os.fdopen(number, "w", encoding="utf-8") as file:
                    json.dump({"of": of, "said": said}, file)
                os.replace(name, path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise GuardError(f"--work: {path}: cannot be written: {error.strerror}") from None

    def _path(self, of: Mapping[str, Any]) -> Path:
        names = [slug(str(of[field])) for field in ("suite", "system")]
        kind = slug("-".join(str(of.get(field) or "") for field in ("kind", "split", "attack")))
        return self.folder.joinpath(*names, f"{kind}-{fingerprint(of)[:16]}.json")


def fingerprint(value: Any) -> str:
    """Digests a JSON value."""
    return hashlib.sha256(_canonical(value).encode()).hexdigest()


def slug(name: str) -> str:
    """A name as files have it."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "none"


def _private(folder: Path) -> None:
    """Makes a folder, and those above it that are missing, for their owner alone."""
    if not folder.parent.is_dir():
        _private(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
