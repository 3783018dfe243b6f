"""The page: what leaks, by which attack, at what cost, so that it is read in a minute.

It needs nothing but itself: no network, no scripts; plots and styles are in it, and follow the
reader's light or dark theme. It holds figures, and nothing that was asked or answered.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jinja2
from markupsafe import Markup

from benchmarks.leakage.plots import curves, plane
from benchmarks.leakage.rest import rest_tables
from benchmarks.leakage.shown import NEAR, RETRAINED, TARGET, Shown, asked, suites
from benchmarks.leakage.table import legend, systems_table
from benchmarks.leakage.told import told_table
from benchmarks.leakage.written import interval, percent, short
from benchmarks.result import Result, write_text
from benchmarks.table import setting

_HOTTEST = 0.5  # above the retrained model; what is more looks no different
_STRONGEST = 48  # per cent of the colour, so that the figure on it stays readable


@dataclass(frozen=True)
class Sentence:
    """What is said of a system.

    Attributes:
        system: Its name.
        mark: How it is marked: ``leaks``, ``near``, ``even`` or ``none``.
        verdict: The mark in words.
        text: The rest.
    """

    system: str
    mark: str
    verdict: str
    text: str


@dataclass(frozen=True)
class Cell:
    """A cell of the heat map.

    Attributes:
        value: The figure.
        notes: What was blocked or failed, below it.
        hint: All of it in words, for who points at it.
        side: ``above`` or ``below`` the retrained model, or ``even``.
        heat: Strength of the colour in per cent.
        worst: Whether the system leaks most here.
    """

    value: str
    notes: str
    hint: str
    side: str
    heat: int
    worst: bool


def write_page(result: Result, path: Path) -> None:
    """Writes the page of a result, whole or not at all.

    Raises:
        GuardError: It cannot be written there.
    """
    write_text(render(result), path)


def render(result: Result) -> str:
    """Returns the page as HTML; the same result makes the same page."""
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [
                jinja2.PackageLoader("benchmarks.leakage", "."),
                jinja2.PackageLoader("guard.report", "."),  # its style
            ]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sections = [_section(shown, f"s{at}") for at, shown in enumerate(suites(result), 1)]
    return environment.get_template("page.html").render(
        result=result, setting=setting(result), suites=sections, near=f"{NEAR:g}"
    )


def sentence(shown: Shown, system: str) -> Sentence:
    """Says what a system leaks most by, and whether that is more than the retrained model tells."""
    worst = shown.worst(system)
    if worst is None:
        return Sentence(system, "none", "not measured", "no attack has figures.")
    by = "when " + asked(None) if worst.attack is None else f"by {worst.attack}"
    figure = f"{shown.leaks} {short(worst.row.value)}{interval(worst.row)}"
    blocked = shown.share(system, "blocked", worst.attack)
    failed = shown.share(system, "failed", worst.attack)
    also = f"; {percent(blocked)} blocked" if blocked else ""
    also += f"; {percent(failed)} failed" if failed else ""
    if system == RETRAINED:
        top = max(
            (row.value, asked(attack))
            for attack in shown.attacks
            if (row := shown.leakage(system, attack)) is not None
        )
        text = f"never learned any of it, and still tells up to {short(top[0])}, by {top[1]}."
        return Sentence(system, "even", "the yardstick", text)
    if worst.yard is None:
        return Sentence(system, "leaks", "leaks", f"most {by}: {figure}{also}.")
    text = f"most {by}: {figure}, where the retrained model has {short(worst.yard.value)}{also}."
    if worst.excess > NEAR:
        return Sentence(system, "leaks", "leaks", text)
    if worst.excess > 0:
        return Sentence(system, "near", f"within {NEAR:g} of the retrained model", text)
    return Sentence(system, "even", "no more than the retrained model", text)


def cell(shown: Shown, system: str, attack: str | None) -> Cell | None:
    """Returns a cell of the heat map; None where nothing was measured."""
    row, excess = shown.leakage(system, attack), shown.excess(system, attack)
    if row is None:
        return None
    shares = {name: shown.share(system, name, attack) for name in ("blocked", "failed")}
    said = [f"{percent(share)} {name}" for name, share in shares.items() if share]
    worst = shown.worst(system)
    over = excess or 0.0
    side = "above" if over > NEAR else "below" if over < -NEAR else "even"
    hint = f"{system}, {asked(attack)}: {short(row.value)}{interval(row)}"
    return Cell(
        value=short(row.value),
        notes=", ".join(said),
        hint="; ".join([hint, *said]),
        side=side if system != RETRAINED else "even",
        heat=round(_STRONGEST * min(abs(over) / _HOTTEST, 1)),
        worst=system != RETRAINED and worst is not None and worst.attack == attack,
    )


def _section(shown: Shown, ident: str) -> Mapping[str, object]:
    ranked = shown.ranked()
    numbers = {system: at for at, system in enumerate(ranked, 1)}
    models = [system for system in (RETRAINED, TARGET) if system in numbers]
    columns = models + [system for system in ranked if system not in models]
    planes = [
        (name, plot)
        for at, (name, metric) in enumerate(
            (("forget quality", "forget_quality"), (f"forget {shown.leaks}", shown.leak))
        )
        if (plot := plane(shown, metric, numbers, f"{ident}-p{at}")) is not None
    ]
    drawn: list[tuple[str, Markup]] = [
        (system, plot)
        for system in ranked
        if (plot := curves(shown, system, f"{ident}-k{numbers[system]}")) is not None
    ]
    header, lines = systems_table(shown)
    return {
        "name": shown.suite,
        "ident": ident,
        "leaks": shown.leaks,
        "numbers": numbers,
        "sentences": [sentence(shown, system) for system in ranked],
        "planes": planes,
        "columns": columns,
        "heat": [
            (asked(attack), [cell(shown, system, attack) for system in columns])
            for attack in shown.strongest()
        ],
        "yardstick": RETRAINED in shown.systems,
        "sampled": asked(shown.sampled),
        "curves": drawn,
        "header": header,
        "lines": lines,
        "told": told_table(shown),
        "rest": rest_tables(shown),
        "legend": legend(shown),
    }
