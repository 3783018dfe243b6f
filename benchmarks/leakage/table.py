"""Markdown tables of a leakage result: a line for each system, and one for each attack."""

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
from benchmarks.leakage.told import told_table
from benchmarks.leakage.written import (
    UTILITY,
    Lines,
    escaped,
    markdown_of,
    measured,
    noted,
    percent,
    shares,
    short,
    spread,
)
from benchmarks.result import Result
from benchmarks.table import setting

# Heading, metric and split of a figure that is shown with its interval.
FIGURES = (
    ("probability", "probability", "forget"),
    ("truth ratio", "truth_ratio", "forget"),
    ("forget quality", QUALITY, "forget"),
    ("utility", UTILITY, "kept"),
)
PARAPHRASE = "paraphrase"
_FOLDED = "<details><summary>All else that was measured</summary>\n"


def table(result: Result) -> str:
    """Renders a result for docs/ and the terminal: systems, what they told, and attacks."""
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
    return measured(header, lines)


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
