"""`python -m benchmarks`: one sub-command a benchmark, and the README's tables."""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, Protocol

from benchmarks import detection, interventions, objectives, output, overhead, training
from benchmarks.join import join
from benchmarks.leakage import command as leakage
from benchmarks.result import RESULTS, ROOT, Result, read, write
from benchmarks.table import IN_BRIEF, fill
from guard.ending import read_or_ended
from guard.errors import GuardError

_DESCRIPTION = """\
Measure the guard. Each benchmark prints its figures and, with --out, writes them as JSON.

exit status: 0 if it was measured, 1 if requests failed on the way (or, for `readme --check`,
if the README is out of date), 2 if it could not be tried.
"""

_README = """\
Fill the sections <!-- results:NAME --> … <!-- /results --> of the README, and of the pages in docs/
that have any, from the committed results.

example:
  python -m benchmarks readme --check
"""


_JOIN = """\
Join parts of a full run, each the result of `--only` or the like, into one result: a benchmark that
takes too long for one day. Every part has measured the yardsticks too, which must agree. A part may
add systems, and attacks on systems that are there.

example:
  python -m benchmarks join one.json two.json --out benchmarks/results/objectives.json
"""


class Benchmark(Protocol):
    """What the module of a benchmark holds."""

    HELP: str
    DESCRIPTION: str

    def run(self, args: argparse.Namespace) -> int:
        """Measures, prints and writes; returns the exit status."""

    def table(self, result: Result) -> str:
        """Renders a result for the README."""


# A benchmark is one file and one line here.
BENCHMARKS: dict[str, Benchmark] = {
    "overhead": overhead,
    "detection": detection,
    "interventions": interventions,
    "output": output,
    "training": training,
    "objectives": objectives,
    "leakage": leakage,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    args = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _interrupt)  # so that servers are stopped
    try:
        return read_or_ended(lambda: _run(args))
    except GuardError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("benchmarks: interrupted", file=sys.stderr)
        return 130


def _run(args: argparse.Namespace) -> int:
    if args.command == "readme":
        pages = args.file or [ROOT / "README.md", *_pages()]
        return max(_readme(page, args.results, check=args.check) for page in pages)
    if args.command == "join":
        return _join(args)
    return BENCHMARKS[args.command].run(args)


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description=_DESCRIPTION, formatter_class=raw, allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, benchmark in BENCHMARKS.items():
        sub = commands.add_parser(
            name,
            help=benchmark.HELP,
            description=benchmark.DESCRIPTION,
            formatter_class=raw,
            allow_abbrev=False,
        )
        sub.add_argument("--quick", action="store_true", help="a trial: fewer requests and rounds")
        sub.add_argument("--json", action="store_true", help="print the result as JSON")
        sub.add_argument("--out", type=Path, metavar="PATH", help="write the result there")
        sub.add_argument("--seed", type=int, default=0, help="of what is drawn by chance (0)")
        getattr(benchmark, "options", lambda parser: None)(sub)  # those of one benchmark alone
    sub = commands.add_parser(
        "readme", help="the README's tables", description=_README, formatter_class=raw
    )
    sub.add_argument("--check", action="store_true", help="change nothing; 1 if out of date")
    sub.add_argument(
        "--file", type=Path, action="append", help="another file, in place of all that have tables"
    )
    sub.add_argument("--results", type=Path, default=RESULTS, help="another folder of results")
    sub = commands.add_parser(
        "join", help="one result of several parts", description=_JOIN, formatter_class=raw
    )
    sub.add_argument("part", type=Path, nargs="+", help="a result of a part")
    sub.add_argument(
        "--out", type=Path, required=True, metavar="PATH", help="write the whole there"
    )
    return parser


def _join(args: argparse.Namespace) -> int:
    benchmark = read(args.part[0]).benchmark
    if benchmark not in BENCHMARKS:
        raise GuardError(f"{args.part[0]}: benchmark: known are {', '.join(BENCHMARKS)}")
    extent = getattr(BENCHMARKS[benchmark], "extent", lambda result: result.suite)
    result = join(args.part, extent)
    write(result, args.out)
    sys.stdout.write(BENCHMARKS[benchmark].table(result))
    return 0


def _pages() -> list[Path]:
    """The pages in docs/ that show results."""
    return [
        page for page in sorted((ROOT / "docs").glob("*.md"))
        if "<!-- results:" in page.read_text("utf-8")
    ]  # fmt: skip


def _readme(readme: Path, results: Path, *, check: bool) -> int:
    renderers = {name: module.table for name, module in BENCHMARKS.items()}
    for name, module in BENCHMARKS.items():
        if (brief := getattr(module, "brief", None)) is not None:
            renderers[name + IN_BRIEF] = brief
    current = fill(readme, renderers, results, check=check)
    if check and not current:
        print(
            f"benchmarks: {readme} does not show the results; run `python -m benchmarks readme`",
            file=sys.stderr,
        )
        return 1
    return 0


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
