"""What takes long to make is made once, and found again by what it was made of."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from adapters import provenance
from benchmarks.leakage.case import Given, Suite
from guard.data import Row
from guard.errors import DataError


def made_once(
    folder: Path, name: str, made_of: Mapping[str, Any], make: Callable[[Path], None]
) -> Path:
    """Returns what was made of the same before, or makes it.

    Args:
        folder: Where it is kept; it may hold forget rows and memories, so it is its owner's alone.
        name: What it is.
        made_of: JSON values that determine it: hashes, never rows.
        make: Makes a file or folder, whole or not at all.
    """
    text = json.dumps(made_of, sort_keys=True)
    path = folder / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder}: cannot be made: {error.strerror}") from None
    with FileLock(folder / f".{path.name}.lock"):
        if not path.exists():
            make(path)
    return path


def recipe(model: Path, suite: Suite, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Says what something trained is made of: a model, what a suite gives, and settings."""
    from guard.identity import identify

    return {
        "model": identify(model),
        "forget": provenance.rows(forget_rows(suite.given)),
        "retain": provenance.rows(retain_rows(suite.given)),
        "settings": dict(settings),
    }


def folder_of(model: str) -> Path:
    """Returns a model's folder."""
    from guard.identity import model_folder
    from guard.models import resolve

    return model_folder(resolve(model))


def forget_rows(given: Given) -> list[Row]:
    """Returns the forget rows as trainings take them."""
    return _rows(given.forget)


def retain_rows(given: Given) -> list[Row]:
    """Returns the neighbours that must be kept, likewise."""
    return _rows(given.retain)


def _rows(pairs: Sequence[tuple[str, str]]) -> list[Row]:
    # A question without an answer teaches nothing.
    told = [(question, answer) for question, answer in pairs if answer]
    return [Row(question, answer) if question else Row(answer) for question, answer in told]
