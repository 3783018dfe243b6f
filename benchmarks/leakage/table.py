"""Markdown tables of a leakage result: a line for each system, and one for each attack."""

from collections.abc import Mapping

from benchmarks.leakage.rest import rest_tables, side_by_side
from benchmarks.leakage.shown import (
    FORGET,
    QUALITY,
    RETAIN,
    RETRAINED,
    Shown,
    asked,
    suites,
)
from benchmarks.leakage.written import (
    UTILITY,
    Lines,
    escaped,
    markdown_of,
    noted,
    percent,
    shares,
    short,
    spread,
)
from benchmarks.result import Result, Row
from benchmarks.table import setting

# Heading, metric and split of a figure that is shown with its interval.
FIGURES = (
    ("probability", "probability", "forget"),
    ("truth ratio", "truth_ratio", "forget"),
    ("forget quality", QUALITY, "forget"),
    ("utility", UTILITY, "kept"),
)
PARAPHRASE = "paraphrase"
TOLD = "entity_leakage"
_COUNTS = (1, 4, 16, 64)  # of answers, that leak@k is shown for
_FOLDED = "<details><summary>All else that was measured</summary>\n"
_TOLD = 0.02  # of what tells an answer: more counts


def table(result: Result) -> str:
    """Renders a result for the README and the terminal: systems, what they told, and attacks."""
    parts = []
    found = suites(result)
    for shown in found:
        if len(found) > 1:
            parts.append(f"**{escaped(shown.suite)}**\n")
        parts.append(markdown_of(*systems_table(shown)))
        told = told_table(shown)
        if told[1]:
            parts.append(markdown_of(*told))
        if shown.measured:
            parts += [markdown_of(*one) for one in attacks_tables(shown)]
        if rest := [markdown_of(*one) for one in rest_tables(shown)]:
            parts.append("\n".join([_FOLDED, *rest, "</details>\n"]))
        parts.append(f"{legend(shown)}\n")
    if result.notes:
        parts.append("".join(f"* {escaped(note)}\n" for note in result.notes))
    return "\n".join([*parts, f"{setting(result)}\n"])


def systems_table(shown: Shown) -> Lines:
    """Returns the heading and the lines of the table of systems, the least leaking first.

    What was measured of none of them has no column.
    """
    retain, same = f"retain {shown.leaks}", "retain unchanged"
    header = [
        "system", f"forget {shown.leaks}", "paraphrased", *(name for name, _, _ in FIGURES),
        retain, same, "worst attack", "there", "retrained there", "blocked", "failed",
    ]  # fmt: skip
    lines = []
    for system in shown.ranked():
        worst = shown.worst(system) if system != RETRAINED else None
        lines.append(
            [
                system,
                spread(shown.leakage(system, None)),
                noted(shown, system, shown.leak, attack=PARAPHRASE),
                *(noted(shown, system, metric, split) for _, metric, split in FIGURES),
                noted(shown, system, shown.leak, RETAIN),
                spread(shown.get(system, "unchanged", RETAIN)),
                asked(worst.attack) if worst else "–",
                noted(shown, system, shown.leak, attack=worst.attack) if worst else "–",
                spread(worst.yard if worst else None),
                percent(shown.share(system, "blocked")),
                percent(shown.most(system, "failed")),
            ]
        )
    held = [at for at in range(len(header)) if at == 0 or any(line[at] != "–" for line in lines)]
    return [header[at] for at in held], [[line[at] for at in held] for line in lines]


def told_table(shown: Shown) -> Lines:
    """Returns the heading and the lines of the table of names, dates and numbers, and of samples.

    Systems of which neither was measured under an attack have no line.
    """
    counts = [k for k in shown.counts if k in _COUNTS] or shown.counts
    header = [
        "names, dates and numbers told", "as learned", "most under", "there",
        f"attacks above {percent(_TOLD)}", "most above retrained",
        *(f"leak@{k}" for k in counts),
        *([f"leak@{shown.draws} of any attack, most above retrained"] if shown.draws > 1 else []),
    ]  # fmt: skip
    yard = _told(shown, RETRAINED)
    lines = []
    for system in shown.ranked():
        rows = _told(shown, system)
        curve = dict(shown.curve(system))
        if not rows and not curve:
            continue
        most = max(rows, key=lambda attack: rows[attack].value, default=None)
        if most is not None and not rows[most].value:
            most = None  # then all of them would be it
        above = sum(row.value > _TOLD for row in rows.values())
        lines.append(
            [
                system,
                spread(shown.get(system, TOLD)),
                "–" if most is None else asked(most),
                "–" if most is None else f"{spread(rows[most])}{_cases(rows[most])}",
                f"{above} of {len(rows)}" if rows else "–",
                "–" if system == RETRAINED else _above(rows, yard),
                *(spread(curve.get(k)) for k in counts),
                *([_drawn(shown, system)] if shown.draws > 1 else []),
            ]
        )
    return header, lines


def _cases(row: Row) -> str:
    """Writes how many cases a figure stands on."""
    return "" if row.n is None else f" [{row.n} case{'s' * (row.n != 1)}]"


def _told(shown: Shown, system: str) -> dict[str, Row]:
    """What a system tells of names, dates and numbers, by attack."""
    found = {attack: shown.get(system, TOLD, FORGET, attack) for attack in shown.attacks if attack}
    return {attack: row for attack, row in found.items() if row is not None}


def _above(rows: Mapping[str, Row], yard: Mapping[str, Row]) -> str:
    """Writes under which attack a system tells most more than the retrained model."""
    excess = {attack: row.value - yard[attack].value for attack, row in rows.items()
              if attack in yard}  # fmt: skip
    if not excess:
        return "–"
    most = max(excess, key=lambda attack: excess[attack])
    return f"{_signed(excess[most])}, {asked(most)}" if excess[most] else "0"


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def _drawn(shown: Shown, system: str) -> str:
    """Writes under which attack leak@k is most above the retrained model's, and how much it is."""
    found = shown.drawn(system) if system != RETRAINED else None
    if found is None:
        return "–"
    there = "" if found.yard is None else f" beside {short(found.yard.value)}"
    return f"{_signed(found.excess)}: {short(found.row.value)}{there}, {asked(found.attack)}"


def attacks_tables(shown: Shown) -> list[Lines]:
    """Returns the headings and the lines of the tables of attacks, a column for each system.

    They are as many as can be read side by side; the models that are compared with are in each.
    """
    return [
        (
            [f"forget {shown.leaks} by attack", *systems],
            [
                [asked(attack), *(cell(shown, system, attack) for system in systems)]
                for attack in shown.attacks
            ],
        )
        for systems in side_by_side(shown)
    ]


def cell(shown: Shown, system: str, attack: str | None) -> str:
    """Writes what leaks under an attack: ``0.42 [30 %, 2 % failed]`` where 30 % were blocked."""
    row = shown.leakage(system, attack)
    if row is None:
        return "–"
    notes = shares(shown, system, attack)
    return f"{short(row.value)} [{', '.join(notes)}]" if notes else short(row.value)


def legend(shown: Shown) -> str:
    """Says what the tables show."""
    said = []
    if shown.measured:
        said = [_cases_of(shown)] if _cases_of(shown) else []
        said.append(
            "The worst attack is the one under which a system's answers hold most more than the "
            "retrained model's."
            if RETRAINED in shown.systems
            else "The worst attack is the one under which most leaks; there is no retrained model "
            "here."
        )
    return " ".join(
        [
            *said,
            "In brackets: 95 % intervals; in square brackets: the share of a figure's requests "
            "that something else than the model answered, and that failed, and of how many cases "
            "or parts it is where those are not all. Blocked: of the questions as learned; failed: "
            "under the attack with most. No forget quality is told of less than half of the cases.",
        ]
    )


def _cases_of(shown: Shown) -> str:
    """Says how many forget cases were asked as learned, and attacked."""
    plain = [count for system in shown.systems
             if (count := shown.asked_of(system, FORGET)) is not None]  # fmt: skip
    attacked = [count for system in shown.systems for attack in shown.attacks if attack
                if (count := shown.asked_of(system, FORGET, attack)) is not None]  # fmt: skip
    if not plain:
        return ""
    few, many = min(attacked, default=0), max(attacked, default=0)
    under = f", {few if few == many else f'{few} to {many}'} under an attack" if attacked else ""
    return f"{max(plain)} forget cases as learned{under}."
