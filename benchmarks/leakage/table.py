"""Markdown tables of a leakage result: a line for each system, and one for each attack."""

import re
from collections.abc import Mapping, Sequence

from benchmarks.leakage.shown import FORGET, RETAIN, RETRAINED, TARGET, Shown, asked, suites
from benchmarks.result import Result, Row
from benchmarks.table import markdown, setting

# Heading, metric and split of a figure that is shown with its interval.
FIGURES = (
    ("probability", "probability", "forget"),
    ("truth ratio", "truth_ratio", "forget"),
    ("forget quality", "forget_quality", "forget"),
    ("utility", "model_utility", "kept"),
)
PARAPHRASE = "paraphrase"
TOLD = "entity_leakage"
_COLUMNS = 6  # of a table of attacks, beside the models that are compared with
_TOLD = 0.02  # of what tells an answer: more counts
_MARKUP = re.compile(r"[\\`*_\[\]<>]")


def table(result: Result) -> str:
    """Renders a result for the README and the terminal: systems, what they told, and attacks."""
    parts = []
    found = suites(result)
    for shown in found:
        if len(found) > 1:
            parts.append(f"**{escaped(shown.suite)}**\n")
        parts.append(_written(*systems_table(shown)))
        told = told_table(shown)
        if told[1]:
            parts.append(_written(*told))
        if shown.measured:
            parts += [_written(*one) for one in attacks_tables(shown)]
            parts.append(f"{legend(shown)}\n")
    return "\n".join([*parts, f"{setting(result)}\n"])


def systems_table(shown: Shown) -> tuple[list[str], list[list[str]]]:
    """Returns the heading and the lines of the table of systems, the least leaking first."""
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
                spread(shown.leakage(system, PARAPHRASE)),
                *(spread(shown.get(system, metric, split)) for _, metric, split in FIGURES),
                spread(shown.get(system, shown.leak, RETAIN)),
                spread(shown.get(system, "unchanged", RETAIN)),
                asked(worst.attack) if worst else "–",
                spread(worst.row if worst else None),
                spread(worst.yard if worst else None),
                percent(shown.share(system, "blocked")),
                percent(shown.most(system, "failed")),
            ]
        )
    return header, lines


def told_table(shown: Shown) -> tuple[list[str], list[list[str]]]:
    """Returns the heading and the lines of the table of names, dates and numbers, and of samples.

    Systems of which neither was measured under an attack have no line.
    """
    header = [
        "names, dates and numbers told", "as learned", "worst attack", "there",
        f"attacks above {percent(_TOLD)}", "most above retrained",
        *(f"leak@{k}" for k in shown.counts),
        *([f"leak@{shown.draws} of any attack, most above retrained"] if shown.draws > 1 else []),
    ]  # fmt: skip
    yard = _told(shown, RETRAINED)
    lines = []
    for system in shown.ranked():
        rows = _told(shown, system)
        curve = dict(shown.curve(system))
        if not rows and not curve:
            continue
        worst = max(rows, key=lambda attack: rows[attack].value, default=None)
        above = sum(row.value > _TOLD for row in rows.values())
        lines.append(
            [
                system,
                spread(shown.get(system, TOLD)),
                "–" if worst is None else asked(worst),
                spread(None if worst is None else rows[worst]),
                f"{above} of {len(rows)}" if rows else "–",
                "–" if system == RETRAINED else _above(rows, yard),
                *(spread(curve.get(k)) for k in shown.counts),
                *([_drawn(shown, system)] if shown.draws > 1 else []),
            ]
        )
    return header, lines


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
    return f"{_signed(excess[most])}, {asked(most)}"


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def _drawn(shown: Shown, system: str) -> str:
    """Writes under which attack leak@k is most above the retrained model's, and how much it is."""
    found = shown.drawn(system) if system != RETRAINED else None
    if found is None:
        return "–"
    there = "" if found.yard is None else f" beside {short(found.yard.value)}"
    return f"{_signed(found.excess)}: {short(found.row.value)}{there}, {asked(found.attack)}"


def attacks_tables(shown: Shown) -> list[tuple[list[str], list[list[str]]]]:
    """Returns the headings and the lines of the tables of attacks, a column for each system.

    They are as many as can be read side by side; the models that are compared with are in each.
    """
    models = [name for name in (TARGET, RETRAINED) if name in shown.systems]
    others = [system for system in shown.ranked() if system not in models]
    tables = []
    for some in [others[at : at + _COLUMNS] for at in range(0, len(others), _COLUMNS)] or [[]]:
        systems = models + some
        lines = [
            [asked(attack), *(cell(shown, system, attack) for system in systems)]
            for attack in shown.attacks
        ]
        tables.append(([f"forget {shown.leaks} by attack", *systems], lines))
    return tables


def cell(shown: Shown, system: str, attack: str | None) -> str:
    """Writes what leaks under an attack: ``0.42 [30 %, 2 % failed]`` where 30 % were blocked."""
    row = shown.leakage(system, attack)
    if row is None:
        return "–"
    blocked, failed = (shown.share(system, name, attack) for name in ("blocked", "failed"))
    notes = [percent(blocked)] if blocked else []
    notes += [f"{percent(failed)} failed"] if failed else []
    return f"{short(row.value)} [{', '.join(notes)}]" if notes else short(row.value)


def legend(shown: Shown) -> str:
    """Says what the tables show."""
    compared = (
        "The worst attack is the one under which a system's answers hold most more than the "
        "retrained model's"
        if RETRAINED in shown.systems
        else "The worst attack is the one under which most leaks; there is no retrained model here"
    )
    counts = [row.n for attack in shown.attacks for row in [shown.leakage(shown.systems[0], attack)]
              if row is not None and row.n is not None]  # fmt: skip
    asked_of = f"{max(counts)} forget cases. " if counts else ""
    return (
        f"{asked_of}{compared}. In brackets: 95 % intervals; in square brackets: the share of "
        "requests that something else than the model answered, and that failed. Blocked: of the "
        "questions as learned; failed: under the attack with most."
    )


def spread(row: Row | None) -> str:
    """Writes a figure with its interval where it has one; a dash where there is none."""
    return "–" if row is None else f"{number(row.value, 3)}{interval(row)}"


def interval(row: Row) -> str:
    """Writes the interval of a figure, in brackets; nothing where there is none."""
    if row.low is None or row.high is None:
        return ""
    return f" ({short(row.low)} to {short(row.high)})"


def number(value: float, digits: int = 2) -> str:
    """Writes a figure between 0 and 1; one that its decimals would hide, by its magnitude."""
    if value and abs(value) < 0.5 * 10**-digits:
        return f"{value:.0e}".replace("e-0", "e-").replace("-", "−")
    return f"{value:.{digits}f}".replace("-", "−")


def short(value: float) -> str:
    """Writes a figure between 0 and 1 in two decimals, where its magnitude does not matter."""
    return "<0.01" if 0 < value < 0.005 else number(value)


def percent(share: float | None) -> str:
    """Writes a share; a dash where there is none."""
    if share is None:
        return "–"
    return "<1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"


def _written(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Writes a table whose names may be anything."""
    return markdown([*map(escaped, header)], [[*map(escaped, line)] for line in lines])


def escaped(name: str) -> str:
    """Writes a name so that Markdown shows it as it is."""
    return _MARKUP.sub(lambda match: f"\\{match[0]}", " ".join(name.split()))
