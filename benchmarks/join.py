"""One result from several: a long benchmark may be measured in parts, on several days.

Every part has measured what the others are compared with (the target, the retrained model) anew;
that has to have come out the same. Where a figure stands, its part says where it was taken.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.result import Part, Result, Row, read
from guard.errors import GuardError

_NEAR = 0.02  # other processors round otherwise, and an answer in a hundred is another
_OF_THE_MACHINE = frozenset({"seconds", "memory"})
_ONE = ("benchmark", "seed")
SOME = "some systems or attacks"  # what a part says of itself that another may make up for


def join(paths: Sequence[Path], extent: Callable[[Result], str]) -> Result:
    """Joins results of one benchmark.

    Args:
        paths: Their files, themselves joined perhaps. Of what several have measured, the first
            one's figures stand; a later one may add systems, and attacks on those that are there.
        extent: How much of the benchmark a result is, by its rows.

    Returns:
        Their figures, with `Result.parts` that say which part each system is of.

    Raises:
        GuardError: A file is no result, they are of different kinds, or what several of them have
            measured differs.
    """
    results = [read(path) for path in paths]
    first = results[0]
    for path, other in zip(paths, results, strict=True):
        for field in _ONE:
            if getattr(other, field) != getattr(first, field):
                raise GuardError(f"{path}: {field}: is not that of {paths[0]}")
        if "part" not in other.suite:
            raise GuardError(f"{path}: suite: is a {other.suite} run; give parts of a full one")
        if _scope(other) != _scope(first):
            raise GuardError(f"{path}: suite: is {other.suite!r}; {paths[0]} is {first.suite!r}")
    rows: dict[tuple[str | None, ...], Row] = {}
    parts: list[Part] = []
    for path, result in zip(paths, results, strict=True):
        known = {row.system for row in rows.values()}
        asked = {(row.system, row.attack) for row in rows.values()}
        added: dict[str, dict[str, None]] = {}  # attacks on known systems, in order
        for row in result.rows:
            held = rows.get(_key(row))
            if row.system in known and row.attack and (row.system, row.attack) not in asked:
                added.setdefault(row.system, {})[row.attack] = None
            elif row.system in known and (held is None or not _alike(held, row)):
                raise GuardError(f"{path}: {row.system}: {row.metric}: differs from earlier parts")
            rows.setdefault(_key(row), row)
        parts += _new(result, known, added)
    joined = first.model_copy(
        update={
            "rows": tuple(rows.values()),
            "seconds": round(sum(result.seconds for result in results), 1),
            "parts": tuple(parts),
            "notes": tuple(dict.fromkeys(note for result in results for note in result.notes)),
        }
    )
    return joined.model_copy(update={"suite": extent(joined)})


def _scope(result: Result) -> list[str]:
    """What a part was measured on, but for how many systems and attacks it has."""
    return [one for one in result.suite.removeprefix("part: ").split("; ") if one != SOME]


def _new(
    result: Result, known: Collection[str], added: Mapping[str, Collection[str]]
) -> Iterator[Part]:
    """Yields the parts of a result, each with what is new in it.

    Args:
        result: Of one part, or joined.
        known: The systems that earlier results have.
        added: Attacks on them that none of those have.
    """
    own = result.parts or (_as_part(result),)
    singled = {(s, a) for part in own for s in part.systems for a in part.attacks or ()}
    for part in own:
        new = [system for system in part.systems if system not in known]
        if new or not part.attacks:
            yield part.model_copy(update={"systems": tuple(new)})
        by_attacks: dict[tuple[str, ...], list[str]] = {}
        for system in part.systems:
            gained = tuple(
                attack for attack in added.get(system, ())
                if (attack in part.attacks if part.attacks else (system, attack) not in singled)
            )  # fmt: skip
            if gained:
                by_attacks.setdefault(gained, []).append(system)
        for attacks, systems in by_attacks.items():
            yield part.model_copy(update={"systems": tuple(systems), "attacks": attacks})


def _as_part(result: Result) -> Part:
    return Part(
        systems=tuple(dict.fromkeys(row.system for row in result.rows)),
        commit=result.commit,
        machine=result.machine,
        versions=result.versions,
        seconds=result.seconds,
    )


def _key(row: Row) -> tuple[str | None, ...]:
    return row.system, row.attack, row.split, row.metric


def _alike(one: Row, other: Row) -> bool:
    """Whether two parts found the same, times and memory apart."""
    near = _NEAR * max(abs(one.value), 1)  # perplexities and truth ratios may be in the thousands
    return one.metric in _OF_THE_MACHINE or abs(one.value - other.value) <= near
