"""Rows that came with a request, as files that were never on a disk: they are personal data."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from guard.errors import GuardError


@contextmanager
def posted(name: str, rows: Sequence[Any]) -> Iterator[Path]:
    """Gives rows as a JSON-lines file in memory, which ends with this.

    Args:
        name: What the rows are called in messages.
        rows: JSON objects, one a line.

    Raises:
        GuardError: What uses the file says that it is wrong; the message names `name` and the row.
    """
    raw = "\n".join(json.dumps(row) for row in rows).encode()
    number = os.memfd_create("guard-posted", os.MFD_CLOEXEC)
    try:
        with open(number, "wb", closefd=False) as file:
            file.write(raw)
        path = Path(f"/proc/self/fd/{number}")
        try:
            yield path
        except GuardError as error:
            raise type(error)(str(error).replace(str(path), name)) from None
    finally:
        os.close(number)
