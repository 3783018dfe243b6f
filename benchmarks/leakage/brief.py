"""A leakage result in brief: a line for each system, of what most people ask first."""

from benchmarks.leakage.shown import QUALITY, RETAIN, RETRAINED, TARGET, Shown, suites
from benchmarks.leakage.told import ABOVE, TOLD, above, excess, telling
from benchmarks.leakage.written import (
    UTILITY,
    Lines,
    escaped,
    markdown_of,
    measured,
    noted,
    percent,
    spread,
)
from benchmarks.result import Result
from benchmarks.table import setting

DRAWN = 16  # answers, that leak@k is shown for


def brief(result: Result) -> str:
    """Renders a result for the README; all of it is what `benchmarks.leakage.table` renders."""
    parts = []
    found = suites(result)
    for shown in found:
        if len(found) > 1:
            parts.append(f"**{escaped(shown.suite)}**\n")
        parts.append(markdown_of(*brief_table(shown)))
    return "\n".join([*parts, f"{setting(result)}\n"])


def brief_table(shown: Shown) -> Lines:
    """Returns the heading and the lines: what is told of the forgotten, and what the rest costs.

    Those systems are first that tell least more than the retrained model under any attack; the
    models that are compared with are last. What was measured of none of them has no column.
    """
    header = [
        "system", f"forget {shown.leaks}", "names, dates and numbers told", ABOVE,
        "most above retrained", f"leak@{DRAWN}", "forget quality", "utility", "retain unchanged",
        "failed",
    ]  # fmt: skip
    lines = [
        [
            system,
            noted(shown, system, shown.leak),
            spread(shown.get(system, TOLD)),
            telling(shown, system),
            above(shown, system),
            spread(dict(shown.curve(system)).get(DRAWN)),
            noted(shown, system, QUALITY),
            noted(shown, system, UTILITY, "kept"),
            spread(shown.get(system, "unchanged", RETAIN)),
            percent(shown.most(system, "failed")),
        ]
        for system in _ordered(shown)
    ]
    return measured(header, lines)


def _ordered(shown: Shown) -> list[str]:
    def place(system: str) -> tuple[bool, float]:
        yardstick = system in (RETRAINED, TARGET)
        return yardstick, 0.0 if yardstick else max(excess(shown, system).values(), default=0.0)

    return sorted(shown.ranked(), key=place)
