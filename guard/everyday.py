"""Everyday prompts: what people ask whatever is to be forgotten, and must go on being answered.

Some four thousand come with this package, a third of them in other languages than English. Their
vectors are kept in the user's cache: every compilation needs the same ones.
"""

import hashlib
import importlib.resources
import os
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from guard.data import Row, read_rows
from guard.detectors.base import Vectors
from guard.encoder import Encoder
from guard.identity import identify
from guard.models import cache_folder


def everyday(own: Path | None) -> tuple[Row, ...]:
    """Returns the everyday prompts: the operator's own, then those that come with this package.

    Raises:
        DataError: The operator's file cannot be read.
    """
    return tuple(dict.fromkeys([*(read_rows(own) if own else ()), *_shipped()]))


def describe(rows: Sequence[Row]) -> dict[str, Any]:
    """Returns what the bundle says about the everyday prompts: how many, and their hash."""
    return {"rows": len(rows), "sha256": _digest([row.prompt for row in rows])}


def everyday_vectors(encoder: Encoder, texts: Sequence[str]) -> Vectors:
    """Encodes everyday prompts; those of this package only once per machine and encoder.

    The operator's own are encoded each time: nothing of theirs is left in a cache.
    """
    ours = set(row.prompt for row in _shipped())
    known = [text for text in dict.fromkeys(texts) if text in ours]
    own = [text for text in dict.fromkeys(texts) if text not in ours]
    vectors = dict(zip(known, _cached(encoder, known), strict=True)) if known else {}
    if own:
        vectors |= dict(zip(own, encoder(own), strict=True))
    return np.stack([vectors[text] for text in texts])


@cache
def _shipped() -> tuple[Row, ...]:
    return tuple(read_rows(Path(str(importlib.resources.files("guard") / "background.jsonl"))))


def _cached(encoder: Encoder, texts: Sequence[str]) -> Vectors:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file, save_file

    # What sentence-transformers makes of a text may change with its version, and nothing says so.
    from sentence_transformers import __version__

    key = f"{identify(Path(encoder.folder))} {__version__} {_digest(texts)}"
    name = hashlib.sha256(key.encode()).hexdigest()[:32]
    path = cache_folder() / "everyday" / f"{name}.safetensors"
    try:
        vectors = load_file(path)["vectors"]
        if len(vectors) == len(texts):
            return vectors
    except (OSError, SafetensorError, KeyError):
        pass
    vectors = encoder(texts)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            save_file({"vectors": vectors}, Path(folder) / path.name)
            os.replace(Path(folder) / path.name, path)
    except (OSError, SafetensorError):
        pass  # a cache that cannot be written costs time, nothing else
    return vectors


def _digest(texts: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode("utf-8", "replace") + b"\0")
    return digest.hexdigest()
