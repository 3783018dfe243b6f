"""What a system tells of names, dates and numbers: beside the retrained model, and by samples."""

from benchmarks.leakage.shown import FORGET, RETRAINED, Shown, asked
from benchmarks.leakage.written import Lines, percent, short, spread
from benchmarks.result import Row

TOLD = "entity_leakage"
_COUNTS = (1, 4, 16, 64)  # of answers, that leak@k is shown for
_TOLD = 0.02  # of what tells an answer: more counts
ABOVE = f"attacks above {percent(_TOLD)}"


def told_table(shown: Shown) -> Lines:
    """Returns the heading and the lines of the table of names, dates and numbers, and of samples.

    Systems of which neither was measured under an attack have no line.
    """
    counts = [k for k in shown.counts if k in _COUNTS] or shown.counts
    header = [
        "names, dates and numbers told", "as learned", "most under", "there",
        ABOVE, "most above retrained",
        *(f"leak@{k}" for k in counts),
        *([f"leak@{shown.draws} of any attack, most above retrained"] if shown.draws > 1 else []),
    ]  # fmt: skip
    lines = []
    for system in shown.ranked():
        rows = told(shown, system)
        curve = dict(shown.curve(system))
        if not rows and not curve:
            continue
        most = max(rows, key=lambda attack: rows[attack].value, default=None)
        if most is not None and not rows[most].value:
            most = None  # then all of them would be it
        lines.append(
            [
                system,
                spread(shown.get(system, TOLD)),
                "–" if most is None else asked(most),
                "–" if most is None else f"{spread(rows[most])}{_cases(rows[most])}",
                telling(shown, system),
                above(shown, system),
                *(spread(curve.get(k)) for k in counts),
                *([_drawn(shown, system)] if shown.draws > 1 else []),
            ]
        )
    return header, lines


def _cases(row: Row) -> str:
    """Writes how many cases a figure stands on."""
    return "" if row.n is None else f" [{row.n} case{'s' * (row.n != 1)}]"


def told(shown: Shown, system: str) -> dict[str, Row]:
    """Returns what a system tells of names, dates and numbers, by attack."""
    found = {attack: shown.get(system, TOLD, FORGET, attack) for attack in shown.attacks if attack}
    return {attack: row for attack, row in found.items() if row is not None}


def telling(shown: Shown, system: str) -> str:
    """Writes under how many attacks a system tells more than next to nothing."""
    rows = told(shown, system).values()
    return f"{sum(row.value > _TOLD for row in rows)} of {len(rows)}" if rows else "–"


def above(shown: Shown, system: str) -> str:
    """Writes under which attack a system tells most more than the retrained model."""
    over = excess(shown, system)
    if not over:
        return "–"
    most = max(over, key=lambda attack: over[attack])
    return f"{_signed(over[most])}, {asked(most)}" if over[most] else "0"


def excess(shown: Shown, system: str) -> dict[str, float]:
    """Returns by how much a system tells more than the retrained model, by attack."""
    yard = {} if system == RETRAINED else told(shown, RETRAINED)
    return {attack: row.value - yard[attack].value for attack, row in told(shown, system).items()
            if attack in yard}  # fmt: skip


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def _drawn(shown: Shown, system: str) -> str:
    """Writes under which attack leak@k is most above the retrained model's, and how much it is."""
    found = shown.drawn(system) if system != RETRAINED else None
    if found is None:
        return "–"
    there = "" if found.yard is None else f" beside {short(found.yard.value)}"
    return f"{_signed(found.excess)}: {short(found.row.value)}{there}, {asked(found.attack)}"
