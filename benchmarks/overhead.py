"""What the guard costs: a guarded server against vLLM as it is, alternating in one run.

Absolute figures of a shared machine say little, and those of one minute nothing about the next. So
both servers run at once, one idle while the other is asked, in turns; what counts is the ratio
within each pair of turns. Each policy has a guarded server, and a plain one beside it, of its own;
all are asked the same.
"""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.decide import decide_rows
from benchmarks.guards import compiled_with, policies
from benchmarks.kept import Kept
from benchmarks.load import Client
from benchmarks.overhead_table import METRICS, RATIO, brief, table
from benchmarks.prompts import Prompts
from benchmarks.renew import earlier, renewed
from benchmarks.report import Run, say
from benchmarks.result import Row
from benchmarks.turns import FULL, QUICK, SYSTEMS, Turn, blocks, take_turns, warm_up
from guard.demo.__main__ import compiled
from guard.errors import GuardError
from guard.guard import Guard

__all__ = ["DESCRIPTION", "HELP", "brief", "options", "run", "served_rows", "table"]

HELP = "what the guard costs"
DESCRIPTION = """\
Start vLLM as it is and vLLM guarded by the demo's policy, put the same prompts to both in turns by
vLLM's own bench client, and compare throughput, time to first token and time between tokens: with
none, a tenth and all of the prompts flagged, at several concurrencies, for each intervention and
for the output check. Time `Guard.decide` as well.

example:
  python -m benchmarks overhead --memory memory/ --resume kept/ --out overhead.json
  python -m benchmarks overhead --only refuse --renew overhead.json --out overhead.json
"""

UNITS = {"throughput": "requests_per_s", "ttft": "ttft_ms", "itl": "itl_ms"}


def options(parser: argparse.ArgumentParser) -> None:
    """Adds what only this benchmark takes."""
    parser.add_argument(
        "--memory", type=Path, metavar="FOLDER", help="a LoRA; adapter and offset need one"
    )
    parser.add_argument("--only", action="append", metavar="NAME", help="only this policy")
    parser.add_argument(
        "--resume", type=Path, metavar="FOLDER",
        help="keep each policy's figures there, and do not measure again what is there",
    )  # fmt: skip
    parser.add_argument(
        "--renew", type=Path, metavar="PATH",
        help="an earlier full result: what is measured now takes its place there",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Measures, prints and writes; returns the exit status."""
    measured = Run("overhead", args)
    size = QUICK if args.quick else FULL
    if args.renew and args.quick:
        raise GuardError("--renew: a --quick run is a trial, and takes the place of nothing")
    before = earlier(args.renew, args.seed) if args.renew else None
    chosen = policies(args.memory, args.only or size.policies)
    kept = Kept(args.resume, "overhead", size.suite, args.seed)
    found = {name: rows for name in chosen if (rows := kept.read(name)) is not None}
    for name in found:
        say(f"{name}: measured before")
    missing = {name: spec for name, spec in chosen.items() if name not in found}
    say("timing decisions")
    decisions = decide_rows(compiled(say), size.decisions)
    with tempfile.TemporaryDirectory(prefix="guard-benchmark-") as temp, Client() as client:
        bundles = {}
        for number, (name, spec) in enumerate(missing.items()):
            say(f"compiling the demo's policy with {name}")
            (folder := Path(temp) / str(number)).mkdir()
            bundles[name] = compiled_with(spec, folder)
        if bundles:
            say("choosing prompts")
            # What is flagged does not depend on what is done about it.
            prompts = Prompts(Guard.load(next(iter(bundles.values())).path), args.seed)
            first, asked = warm_up(prompts), blocks(prompts, size)
        for name, bundle in bundles.items():
            say(f"{name}:")
            turns = take_turns(bundle, client, first, asked, size, say)
            if not _sound(name, turns):
                return 1
            found[name] = served_rows(name, turns)
            kept.write(name, found[name])
    rows = [row for name in chosen for row in found[name]]
    suite = "full: part" if args.only and not args.quick else size.suite
    measured.finish(
        suite, [*rows, *decisions], table,
        within=lambda fresh: renewed(before, fresh, [*chosen]) if before else fresh,
    )  # fmt: skip
    return 0


def served_rows(policy: str, turns: Sequence[Turn]) -> list[Row]:
    """Turns the turns into figures: each server's own, and the ratios pair by pair.

    Args:
        policy: Its name.
        turns: Of every case, as many of the plain server as of the guarded one, in order.
    """
    rows = []
    for case in dict.fromkeys(turn.case for turn in turns):
        split = f"{policy}: {case.split}"
        mine = [turn for turn in turns if turn.case == case]
        plain, guarded = (
            [turn.done.figures for turn in mine if turn.system == system] for system in SYSTEMS
        )
        for metric in METRICS:
            # Where every prompt is refused, there is no time between tokens.
            if not all(metric in one for one in (*plain, *guarded)):
                continue
            before, after = ([one[metric] for one in side] for side in (plain, guarded))
            ratios = [a / b for a, b in zip(after, before, strict=True)]
            rows += [
                _row("plain", split, UNITS[metric], before),
                _row("guarded", split, UNITS[metric], after),
                _row(RATIO, split, f"{metric}_ratio", ratios),
            ]
    answered = sum(turn.done.answered for turn in turns)
    return [*rows, Row(system="all", split=policy, metric="failed", value=0, n=answered)]


def _sound(policy: str, turns: Sequence[Turn]) -> bool:
    """Whether the turns can be told of: figures would leave out what failed."""
    failures = [failure for turn in turns for failure in turn.done.failures]
    misjudged = sum(turn.misjudged for turn in turns)
    for failure in failures[:5]:
        say(f"FAILED: {failure}")
    asked = sum(turn.done.answered for turn in turns) + len(failures)
    say(
        f"{policy}: {asked} requests, {len(failures)} failed, "
        f"{misjudged} treated otherwise than expected"
    )
    if failures or misjudged:
        say("no figures: they would leave out what failed")
    return not failures and not misjudged


def _row(system: str, split: str, metric: str, values: Sequence[float]) -> Row:
    middle, low, high = (
        round(value, 4) for value in (statistics.median(values), min(values), max(values))
    )
    return Row(
        system=system, split=split, metric=metric, value=middle, low=low, high=high, n=len(values)
    )
