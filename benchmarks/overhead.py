"""What the guard costs: a guarded server against vLLM as it is, alternating in one run.

Absolute figures of a shared machine say little, and those of one minute nothing about the next. So
both servers run at once, one idle while the other is asked, in turns; what counts is the ratio
within each pair of turns.
"""

import argparse
import statistics
from collections.abc import Sequence

from benchmarks.decide import NAMES, REMEMBERED, UNSEEN, decide_rows
from benchmarks.report import Run, say
from benchmarks.result import Result, Row
from benchmarks.table import figure, markdown, setting
from benchmarks.turns import CASES, FULL, QUICK, Case, Turn, take_turns
from guard.demo.__main__ import compiled

HELP = "what the guard costs"
DESCRIPTION = """\
Start vLLM as it is and vLLM guarded by the demo's policy, put the same prompts to both in turns,
and compare throughput, time to first token and time between tokens. Time `Guard.decide` as well.

example:
  python -m benchmarks overhead --out benchmarks/results/overhead.json
"""

METRICS = ("throughput", "ttft", "itl")
UNITS = {"throughput": "tokens_per_s", "ttft": "ttft_ms", "itl": "itl_ms"}


def run(args: argparse.Namespace) -> int:
    """Measures, prints and writes; returns the exit status."""
    measured = Run("overhead", args)
    size = QUICK if args.quick else FULL
    bundle = compiled(say)
    say("timing decisions")
    rows = decide_rows(bundle, size.decisions)
    turns = take_turns(bundle, size, args.seed, say)
    failures = [failure for turn in turns for failure in turn.done.failures]
    misjudged = sum(turn.misjudged for turn in turns)
    for failure in failures[:5]:
        say(f"FAILED: {failure}")
    asked = sum(len(turn.done.answers) for turn in turns) + len(failures)
    say(f"{asked} requests, {len(failures)} failed, {misjudged} decided otherwise than expected")
    if failures or misjudged:
        say("no figures: they would leave out what failed")
        return 1
    rows = [*served_rows(turns), *rows, Row(system="all", metric="failed", value=0, n=asked)]
    measured.finish(size.suite, rows, table)
    return 0


def served_rows(turns: Sequence[Turn]) -> list[Row]:
    """Turns the turns into figures: each server's own, and the ratios pair by pair.

    Args:
        turns: Of every case, as many of the plain server as of the guarded one, in order.
    """
    rows = []
    for case in dict.fromkeys(turn.case for turn in turns):
        mine = [turn for turn in turns if turn.case == case]
        plain, guarded = (
            [turn.done.figures for turn in mine if turn.system == system]
            for system in ("plain", "guarded")
        )
        for metric in METRICS:
            before, after = ([one[metric] for one in side] for side in (plain, guarded))
            ratios = [a / b for a, b in zip(after, before, strict=True)]
            rows += [
                _row("plain", case, UNITS[metric], before),
                _row("guarded", case, UNITS[metric], after),
                _row("guarded/plain", case, f"{metric}_ratio", ratios),
            ]
    return rows


def table(result: Result) -> str:
    """Renders a result for the README."""
    found = {(row.system, row.split, row.metric): row for row in result.rows}
    ratios = []
    for case in CASES:
        cells = [
            figure(found["guarded/plain", case.split, f"{metric}_ratio"], "×") for metric in METRICS
        ]
        traffic = case.split.partition(", ")[2]
        ratios.append([traffic, str(case.concurrency), *cells])
    header = ["traffic", "concurrency", "throughput", "time to first token", "between tokens"]
    kinds = [(NAMES, "names settle it"), (UNSEEN, "unseen text"), (REMEMBERED, "remembered text")]
    decisions = [
        [
            label,
            figure(found["guard.decide", kind, "decide_ms"], "ms"),
            figure(found["guard.decide", kind, "decide_ms_p99"], "ms"),
        ]
        for kind, label in kinds
    ]
    pairs = next(row.n for row in result.rows if row.system == "guarded/plain")
    failed = next(row for row in result.rows if row.metric == "failed")
    return "\n".join(
        [
            markdown(header, ratios),
            markdown(["one decision", "median", "99 %"], decisions),
            f"Guarded divided by plain: median of {pairs} pairs (lowest to highest); "
            f"{failed.n} requests, {failed.value:.0f} failed. {setting(result)}\n",
        ]
    )


def _row(system: str, case: Case, metric: str, values: Sequence[float]) -> Row:
    middle, low, high = (
        round(value, 4) for value in (statistics.median(values), min(values), max(values))
    )
    return Row(
        system=system,
        split=case.split,
        metric=metric,
        value=middle,
        low=low,
        high=high,
        n=len(values),
    )
