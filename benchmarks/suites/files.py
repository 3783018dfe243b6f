"""Reads the data sets of the benchmarks from a folder; nothing of them is part of this project."""

import csv
import json
import os
from pathlib import Path
from typing import Any

from guard.errors import DataError

VARIABLE = "GUARD_DATA"


def data_folder(given: Path | None) -> Path:
    """Returns the folder of the data sets: what was given, or what the environment says.

    Raises:
        DataError: Neither is given, or it is no folder.
    """
    folder = given or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    if folder is None:
        raise DataError(
            f"--data: give the folder of the data sets (or set {VARIABLE}); "
            "benchmarks/suites/README.md says what belongs there"
        )
    if not folder.is_dir():
        raise DataError(f"--data: {folder}: no such folder")
    return folder


def read_json(path: Path) -> list[Any]:
    """Reads a JSON array, or JSON lines: some sets call either ``.json``.

    Raises:
        DataError: It is missing or neither of the two.
    """
    text = _read(path)
    try:
        if text.lstrip().startswith("["):
            return list(json.loads(text))
        return [json.loads(line) for line in text.split("\n") if line.strip()]
    except ValueError:
        raise DataError(f"{path}: neither a JSON array nor JSON lines") from None


def read_object(path: Path) -> dict[str, Any]:
    """Reads one JSON object.

    Raises:
        DataError: It is missing or no object.
    """
    try:
        return dict(json.loads(_read(path)))
    except ValueError:
        raise DataError(f"{path}: not a JSON object") from None


def read_csv(path: Path, column: str) -> list[str]:
    """Reads one column of a table.

    Raises:
        DataError: The file or the column is missing.
    """
    try:
        return [row[column] for row in csv.DictReader(_read(path).splitlines(keepends=True))]
    except KeyError:
        raise DataError(f"{path}: has no column {column!r}") from None


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; see benchmarks/suites/README.md") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
