"""What was measured of the leakage: figures from a result of ``python -m benchmarks``."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from guard.errors import AuditError

Row = Mapping[str, Any]

# Of what is forgotten. The rest of a result is about what must keep working.
_SPLITS = ("forget", "paraphrase")
# Shares of what was learned that an answer still tells: the higher, the worse.
LEAKS = ("rouge_l", "entity_leakage", "verbatim_words", "probability")


def read_leakage(file: Path, system: str | None = None) -> dict[str, Any]:
    """Reads what a result says of what is forgotten.

    Args:
        file: A result.
        system: Which of the systems that it compares; all without.

    Returns:
        Where the figures come from (file, hash, benchmark, suite, commit), and its rows.

    Raises:
        AuditError: It is no result, or says nothing of this.
    """
    try:
        raw = file.read_bytes()
        value = json.loads(raw)
        rows = [dict(row) for row in value["rows"]]
        named = {str(row["system"]) for row in rows}
        figures = [
            row for row in rows
            if any(split in str(row.get("split") or "") for split in _SPLITS)
            and isinstance(row["value"], int | float) and isinstance(row["metric"], str)
        ]  # fmt: skip
    except OSError as error:
        raise AuditError(f"{file}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise AuditError(f"{file}: rows: not a result of `python -m benchmarks`") from None
    if system is not None and system not in named:
        raise AuditError(f"{file}: has no system {system!r} (it has: {', '.join(sorted(named))})")
    figures = [row for row in figures if system in (None, row["system"])]
    if not figures:
        raise AuditError(f"{file}: says nothing of what is forgotten; give a result of `leakage`")
    said = {key: value.get(key) for key in ("benchmark", "suite", "commit")}
    return {
        "file": file.name, "sha256": hashlib.sha256(raw).hexdigest(), **said, "rows": figures
    }  # fmt: skip


def worst(rows: list[Row]) -> list[Row]:
    """Returns, of each system, split and metric, the plain figure and that of the worst attack."""
    plain = [row for row in rows if row.get("attack") is None]
    highest: dict[tuple[str, ...], Row] = {}
    for row in rows:
        if row.get("attack") is not None and row["metric"] in LEAKS:
            key = (row["system"], row["split"], row["metric"])
            if key not in highest or row["value"] > highest[key]["value"]:
                highest[key] = row
    return [*plain, *highest.values()]
