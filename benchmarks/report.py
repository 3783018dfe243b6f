"""One run of a benchmark, from its start to its printed and written result."""

import argparse
import sys
import time
from collections.abc import Callable, Iterable

from benchmarks.result import Machine, Result, Row, commit, versions, write
from guard.errors import GuardError


class Run:
    """A run that has begun: its time, and the commit that was checked out then.

    Args:
        benchmark: Which benchmark.
        args: Its command line: ``out``, ``json``, ``seed``.

    Raises:
        GuardError: The result could not be written where it is to be.
    """

    def __init__(self, benchmark: str, args: argparse.Namespace) -> None:
        if args.out is not None and args.out.is_dir():
            raise GuardError(f"--out: {args.out}: is a folder; give a file")
        self._benchmark = benchmark
        self._args = args
        self._commit = commit()
        self._began = time.monotonic()

    def finish(
        self,
        suite: str,
        rows: Iterable[Row],
        table: Callable[[Result], str],
        check: Callable[[Result], None] = lambda result: None,
        notes: Iterable[str] = (),
        within: Callable[[Result], Result] = lambda result: result,
    ) -> Result:
        """Prints the result, as JSON or rendered by `table`, and writes it where it is wanted.

        Args:
            suite: How much was measured; only ``full`` runs are shown in the README.
            rows: The figures.
            table: Renders a result.
            check: Raises where the result may not be shown.
            notes: What a reader of the figures should know.
            within: Puts the run into a larger result, which is shown and written in its place.

        Returns:
            The result.
        """
        args = self._args
        result = Result(
            benchmark=self._benchmark,
            suite=suite,
            rows=tuple(rows),
            commit=self._commit,
            machine=Machine.here(),
            versions=versions(),
            seed=args.seed,
            seconds=round(time.monotonic() - self._began, 1),
            notes=tuple(dict.fromkeys(notes)),
        )
        check(result)
        result = within(result)
        sys.stdout.write(result.to_json() if args.json else table(result))
        if args.out is not None:
            write(result, args.out)
        return result


def say(line: str) -> None:
    """Tells a person how far a benchmark has come."""
    print(f"benchmarks: {line}", file=sys.stderr, flush=True)
