"""An earlier result of what the guard costs, in which some policies were measured anew.

Each policy is measured against a plain server of its own, in turns. So one that has changed can be
measured again by itself; which figures are of which commit is written down.
"""

from collections.abc import Collection
from pathlib import Path

from benchmarks.result import Part, Result, Row, read
from guard.errors import GuardError


def earlier(path: Path, seed: int) -> Result:
    """Reads a result that policies may be put in.

    Raises:
        GuardError: It is none, or not a full one of the same draws.
    """
    result = read(path)
    for field, wanted in (("benchmark", "overhead"), ("suite", "full"), ("seed", seed)):
        if getattr(result, field) != wanted:
            raise GuardError(f"{path}: {field}: must be {wanted}; give a result of a full run")
    return result


def renewed(before: Result, fresh: Result, policies: Collection[str]) -> Result:
    """Puts newly measured policies in the place of what was measured of them before.

    Args:
        before: The earlier result; its figures of single decisions stay.
        fresh: The new one.
        policies: Which policies it has measured.
    """
    old, new = _by_policy(before), _by_policy(fresh)
    of = {name: new[name] if name in policies else old[name] for name in {**old, **new}}
    decisions = of.pop(None)
    kept = [name for name in of if name is not None and name not in policies]
    parts = [
        part.model_copy(update={"systems": tuple(name for name in part.systems if name in kept)})
        for part in before.parts or (_part(before, kept),)
    ]
    return before.model_copy(
        update={
            "rows": (*(row for rows in of.values() for row in rows), *decisions),
            "parts": (*(part for part in parts if part.systems), _part(fresh, policies)),
            "seconds": round(before.seconds + fresh.seconds, 1),
        }
    )


def _by_policy(result: Result) -> dict[str | None, list[Row]]:
    found: dict[str | None, list[Row]] = {}
    for row in result.rows:
        found.setdefault(_policy(row), []).append(row)
    return found


def _policy(row: Row) -> str | None:
    """Which policy a figure is of; None for one of a single decision."""
    return None if row.system == "guard.decide" else (row.split or "").partition(":")[0]


def _part(result: Result, policies: Collection[str]) -> Part:
    return Part(
        systems=tuple(policies),
        commit=result.commit,
        machine=result.machine,
        versions=result.versions,
        seconds=result.seconds,
    )
