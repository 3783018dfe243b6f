"""How well the guard tells what is to be forgotten from what is not, and what that costs.

Every question is judged by a detector that was made without it and, for the neighbours, without
anything about the same person (`benchmarks/split.py` proves it). Rates are those at the thresholds
that the compiler chose: what would be deployed.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.detection_table import brief, table
from benchmarks.experiment import Experiment
from benchmarks.report import Run, say
from benchmarks.result import Row
from benchmarks.size import FULL, QUICK
from benchmarks.suites.files import VARIABLE, data_folder
from benchmarks.workers import Workers
from guard.errors import GuardError

__all__ = ["DESCRIPTION", "HELP", "brief", "options", "run", "table"]

HELP = "how well the guard tells what is to be forgotten"
DESCRIPTION = """\
Compile TOFU's and LUME's forget sets, and judge paraphrases, disguised questions, other languages,
neighbours and everyday prompts; compare with a keyword filter, MiniLM at a fixed cosine, a
classifier trained as ECO's and semantic-router.

example:
  python -m benchmarks detection --data data --baselines --out benchmarks/results/detection.json
"""

SUITES: dict[str, Callable[[Experiment], list[Row]]] = {
    "tofu01": lambda experiment: experiment.tofu("01"),
    "tofu05": lambda experiment: experiment.tofu("05"),
    "tofu10": lambda experiment: experiment.tofu10(),
    "languages": lambda experiment: experiment.languages(),
    "lume": lambda experiment: experiment.lume(),
    "latency": lambda experiment: experiment.latency(),
}


def options(parser: argparse.ArgumentParser) -> None:
    """Adds what only this benchmark takes."""
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", help=f"the data sets (${VARIABLE} by default)"
    )
    parser.add_argument(
        "--suite", action="append", choices=SUITES, help="only this one; may be given again"
    )
    parser.add_argument("--detect", default="cascade", metavar="KIND", help="detector (cascade)")
    parser.add_argument(
        "--baselines", action="store_true", help="make semantic-router's environment if missing"
    )
    parser.add_argument("--epochs", type=int, metavar="N", help="of the classifier (3; ECO: 30)")


def run(args: argparse.Namespace) -> int:
    """Measures, prints and writes; returns the exit status."""
    measured = Run("detection", args)
    chosen = [name for name in SUITES if args.suite is None or name in args.suite]
    size = QUICK if args.quick else FULL
    rows: list[Row] = []
    failed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="guard-benchmark-") as folder, Workers() as workers:
        experiment = Experiment(
            data=data_folder(args.data), folder=Path(folder), workers=workers, size=size,
            seed=args.seed, detect=args.detect, make=args.baselines, epochs=args.epochs, say=say,
        )  # fmt: skip
        for name in chosen:
            started = time.monotonic()
            try:
                rows += SUITES[name](experiment)
            except GuardError as error:  # what others have found in half an hour is kept
                say(f"FAILED: {name}: {error}")
                failed.append(name)
            say(f"{name}: {time.monotonic() - started:.0f} s")
    if not rows:
        return 1
    done = [name for name in chosen if name not in failed]
    measured.finish(
        size.suite if len(done) == len(SUITES) else f"{size.suite}: {', '.join(done)}", rows, table
    )
    return 1 if failed else 0
