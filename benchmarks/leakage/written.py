"""How figures are written in tables and on the page."""

import re
from collections.abc import Sequence

from benchmarks.leakage.shown import FORGET, QUALITY, Shown
from benchmarks.result import Row
from benchmarks.table import markdown

Lines = tuple[list[str], list[list[str]]]  # a heading, and lines of as many cells
UTILITY, PARTS = "model_utility", "utility_parts"
SCORED = ("probability", "truth_ratio", QUALITY)  # they stand on likelihoods, not on answers
_HUGE = 1e5  # nobody reads the digits of more
_MARKUP = re.compile(r"[\\`*_\[\]<>]")


def spread(row: Row | None) -> str:
    """Writes a figure with its interval where it has one; a dash where there is none."""
    return "–" if row is None else f"{number(row.value, 3)}{interval(row)}"


def interval(row: Row) -> str:
    """Writes the interval of a figure, in brackets; nothing where there is none."""
    if row.low is None or row.high is None:
        return ""
    return f" ({short(row.low)} to {short(row.high)})"


def number(value: float, digits: int = 2) -> str:
    """Writes a figure; one that its decimals would hide, or that hides them, by its magnitude."""
    if value and (abs(value) < 0.5 * 10**-digits or abs(value) >= _HUGE):
        return re.sub(r"e([-+])0*", lambda m: f"e{m[1].strip('+')}", f"{value:.0e}").replace(
            "-", "−"
        )
    return f"{value:.{digits}f}".replace("-", "−")


def short(value: float) -> str:
    """Writes a figure between 0 and 1 in two decimals, where its magnitude does not matter."""
    return "<0.01" if 0 < value < 0.005 else number(value)


def percent(share: float | None) -> str:
    """Writes a share; a dash where there is none."""
    if share is None:
        return "–"
    return "<1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"


def markdown_of(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Writes a table whose names may be anything."""
    return markdown([*map(escaped, header)], [[*map(escaped, line)] for line in lines])


def measured(header: Sequence[str], lines: Sequence[Sequence[str]]) -> Lines:
    """Leaves out the columns in which no line has a figure; the first names the lines."""
    held = [at for at in range(len(header)) if at == 0 or any(line[at] != "–" for line in lines)]
    return [header[at] for at in held], [[line[at] for at in held] for line in lines]


def escaped(name: str) -> str:
    """Writes a name so that Markdown shows it as it is."""
    return _MARKUP.sub(lambda match: f"\\{match[0]}", " ".join(name.split()))


def noted(
    shown: Shown, system: str, metric: str, split: str = FORGET, attack: str | None = None
) -> str:
    """Writes a figure and, in square brackets, what it does not stand on.

    That is the share of its requests that was blocked or failed, and of how many cases it is where
    those are fewer than were asked about; of utility, the parts that it is the mean of.
    """
    row = shown.get(system, metric, split, attack)
    if row is None:
        return "–"
    notes = []
    if metric not in SCORED:
        notes = shares(shown, system, attack, split)
    total = shown.asked_of(system, split, attack)
    if row.n is not None and total is not None and row.n < total and metric != UTILITY:
        notes.append(f"{row.n} of {total}")
    if metric == UTILITY:
        parts = {name: shown.get(name, PARTS, split) for name in shown.systems}
        counts = {name: round(part.value) for name, part in parts.items() if part is not None}
        if system in counts and counts[system] < max(counts.values()):
            notes.append(f"{counts[system]} of {max(counts.values())} parts")
    return f"{spread(row)} [{', '.join(notes)}]" if notes else spread(row)


def shares(shown: Shown, system: str, attack: str | None, split: str = FORGET) -> list[str]:
    """Writes the shares of requests that something else answered, and that failed, if any did."""
    blocked, failed = (shown.share(system, n, attack, split) for n in ("blocked", "failed"))
    return [
        *([percent(blocked)] if blocked else []),
        *([f"{percent(failed)} failed"] if failed else []),
    ]
