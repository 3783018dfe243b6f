"""Parts of a long run that are kept as they are measured, so that it can be gone on with."""

import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.result import Machine, Result, Row, commit, read, versions, write
from guard.errors import GuardError


class Kept:
    """A folder of parts; each is a result of its own.

    Args:
        folder: Where they are; nothing is kept without one.
        benchmark: Whose they are.
        suite: How much of it.
        seed: What was drawn with.
    """

    def __init__(self, folder: Path | None, benchmark: str, suite: str, seed: int) -> None:
        self._folder = folder
        self._like = Result(
            benchmark=benchmark,
            suite=suite,
            rows=(),
            commit=commit(),
            machine=Machine.here(),
            versions=versions(),
            seed=seed,
            seconds=0,
        )

    def read(self, name: str) -> list[Row] | None:
        """Returns a part; None where it is yet to be measured.

        Raises:
            GuardError: It is not of this code, this machine or this run.
        """
        if self._folder is None or not (path := self._path(name)).exists():
            return None
        found = read(path)
        for field in ("benchmark", "suite", "commit", "machine", "versions", "seed"):
            if getattr(found, field) != getattr(self._like, field):
                raise GuardError(f"{path}: {field}: is not this run's; give another folder")
        return list(found.rows)

    def write(self, name: str, rows: Sequence[Row]) -> None:
        """Keeps a part.

        Raises:
            GuardError: It cannot be written.
        """
        if self._folder is not None:
            write(self._like.model_copy(update={"rows": tuple(rows)}), self._path(name))

    def _path(self, name: str) -> Path:
        assert self._folder is not None
        return self._folder / f"{re.sub(r'[^a-z0-9]+', '-', name.lower())}.json"
