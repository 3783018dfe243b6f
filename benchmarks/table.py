"""Markdown tables from committed results, and their place in the README.

A section starts with ``<!-- results:NAME -->`` and ends with ``<!-- /results -->``; what stands
between is written from ``benchmarks/results/NAME.json`` by the benchmark's own renderer;
``<!-- results:NAME in brief -->`` has the part of it that most people read. A full run of a part of
a benchmark is BENCHMARK-PART.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.result import Part, Result, Row, read
from guard.errors import GuardError

Render = Callable[[Result], str]

IN_BRIEF = " in brief"
_SECTION = re.compile(
    rf"(<!-- results:([\w-]+)({IN_BRIEF})? -->\n)(.*?)(<!-- /results -->)", re.DOTALL
)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Renders a table; all columns but the first are figures, and right-aligned."""

    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"

    rule = f"|{'|'.join(['---', *['---:'] * (len(header) - 1)])}|"
    return "\n".join([line(header), rule, *map(line, rows)]) + "\n"


def figure(row: Row, unit: str = "", digits: int = 2) -> str:
    """A figure with its spread where it has one: ``×1.03 (0.98 to 1.10)`` for the unit ``×``."""
    text = f"{row.value:.{digits}f}"
    text = f"×{text}" if unit == "×" else f"{text} {unit}".rstrip()
    if row.low is None or row.high is None:
        return text
    return f"{text} ({row.low:.{digits}f} to {row.high:.{digits}f})"


def setting(result: Result) -> str:
    """One line: where, with what and from which commit the figures come; for parts, whose."""
    if not result.parts:
        return _setting(result)
    taken: dict[str, list[str]] = {}
    for part in result.parts:
        if part.systems:
            taken.setdefault(_setting(part), []).extend(f"{s}{_under(part)}" for s in part.systems)
    between = "; " if any("," in name for names in taken.values() for name in names) else ", "
    return " ".join(f"{between.join(names)}: {where}" for where, names in taken.items())


def _under(part: Part) -> str:
    """Says that not all of a system is of a part; its attacks are too many to be named."""
    some = len(part.attacks or ())
    return f" under {some} attack{'s' if some > 1 else ''}" if some else ""


def _setting(result: Result | Part) -> str:
    machine, versions = result.machine, result.versions
    cores = "1 core" if machine.cores == 1 else f"{machine.cores} cores"
    parts = [f"{cores} of {machine.cpu}", f"{machine.memory_gib:g} GiB"]
    parts += [f"{name} {versions[name]}" for name in ("vllm", "torch") if name in versions]
    parts += [f"commit {result.commit}"] if result.commit else []
    return ", ".join(parts) + "."


def filled(text: str, renderers: Mapping[str, Render], results: Path) -> str:
    """Returns a text with every section in it filled from its result.

    Raises:
        GuardError: A section has no benchmark or no result, or there is no section at all.
    """
    if not _SECTION.search(text):
        raise GuardError("there is no <!-- results:NAME --> … <!-- /results --> section to fill")

    def section(match: re.Match[str]) -> str:
        name = match[2]
        benchmark, _, part = name.partition("-")
        form = benchmark + (match[3] or "")
        if form not in renderers:
            raise GuardError(
                f"<!-- results:{name}{match[3] or ''} -->: known are {', '.join(renderers)}"
            )
        result = read(results / f"{name}.json")
        fits = (
            result.suite.removeprefix("full: ").startswith("part")
            if part
            else (result.suite == "full")
        )
        if result.benchmark != benchmark or not fits:
            raise GuardError(
                f"{results / name}.json: holds a {result.suite} run of {result.benchmark}; "
                f"shown are only full runs of {benchmark}"
            )
        return f"{match[1]}{renderers[form](result)}{match[5]}"

    return _SECTION.sub(section, text)


def fill(readme: Path, renderers: Mapping[str, Render], results: Path, *, check: bool) -> bool:
    """Brings a README up to date with the results; returns whether it already was.

    Args:
        readme: The file.
        renderers: How each benchmark's result is shown, and how in brief.
        results: The folder of the results.
        check: Change nothing.

    Raises:
        GuardError: It cannot be read, or a section of it cannot be filled.
    """
    try:
        text = readme.read_text("utf-8")
    except OSError as error:
        raise GuardError(f"{readme}: cannot be read: {error.strerror}") from None
    try:
        wanted = filled(text, renderers, results)
    except GuardError as error:
        raise GuardError(f"{readme}: {error}") from None
    if wanted != text and not check:
        readme.write_text(wanted, "utf-8")
    return wanted == text
