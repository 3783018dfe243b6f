"""What adapters trained with each objective have forgotten, and what they have spoilt.

The world is `benchmarks.world`. Each objective trains a LoRA of the target, on the forget rows and
the retain rows that a guard may be given; what is asked afterwards, no training is shown. An
adapter is measured as edited weights, for every question, and behind a guard: the retain questions
that the guard does not flag are answered as if there were no adapter.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from adapters import provenance
from adapters.loading import Scaled, load
from adapters.machine import flushed_denormals
from adapters.objectives import OBJECTIVES
from adapters.scale import choose_scale
from benchmarks.interventions import write_rows
from benchmarks.knowledge import Knowledge, knowledge
from benchmarks.metrics.forget_quality import forget_quality
from benchmarks.report import Run, say
from benchmarks.result import Result, Row
from benchmarks.table import markdown, setting
from benchmarks.world import BASE, World, given_world, world_options
from guard import data
from guard.compile import compile_policy
from guard.errors import GuardError
from guard.guard import Guard

__all__ = ["DESCRIPTION", "HELP", "options", "run", "table"]

HELP = "what adapters of each objective have forgotten"
DESCRIPTION = """\
Train an adapter with each objective, by `memory --contrast` and by `retrain`, on a small model that
has learned twenty invented authors, two of whom are to be forgotten; ask it about all of them, and
compare it with the model retrained without the two. A day on two slow cores; --work keeps what is
done, and goes on from there.

example:
  python -m benchmarks objectives --data data --models models --work work/
"""
TARGET, RETRAINED = "target", "retrained"
CONTRAST = "contrast"  # what `memory --contrast` makes
RETRAIN = "retrain"  # what `retrain` makes
SUBTRACTED = ("negate", CONTRAST)
PARTS = ("spul", "uld")  # what soft prompts and assistants are trained with: no adapters
METRICS = {
    "forget": "forget",
    "paraphrased": "in other words",
    "probability": "forget probability",
    "ratio": "truth ratio",
    "quality": "forget quality",
    "retain": "retain",
    "gated": "retain, behind a guard",
    "utility": "utility",
    "scale": "scale",
    "seconds": "seconds",
    "memory": "memory, GiB",
}


def options(parser: argparse.ArgumentParser) -> None:
    """Adds what only this benchmark takes."""
    world_options(parser)
    parser.add_argument(
        "--work", type=Path, metavar="FOLDER", help="keep trained adapters and figures here"
    )
    parser.add_argument("--only", action="append", metavar="NAME", help="only this objective")


def run(args: argparse.Namespace) -> int:
    """Measures, prints and writes; returns the exit status."""
    measured = Run("objectives", args)
    world = given_world(args)
    kinds = _chosen(args.only)
    size, steps = (4, 2) if args.quick else (None, None)
    with tempfile.TemporaryDirectory(prefix="guard-benchmark-") as temp:
        work = args.work or Path(temp)
        work.mkdir(parents=True, exist_ok=True)
        bench = _Bench(world, work, size, steps)
        found = {name: bench.model(name) for name in (TARGET, RETRAINED)}
        for kind in kinds:
            found[kind] = bench.objective(kind)
        flagged = bench.flagged()
    whole = not args.only and not args.quick
    measured.finish(
        "full" if whole else "quick" if args.quick else "full: part", rows(found, flagged), table
    )
    return 0


def extent(result: Result) -> str:
    """Says how much a result is of a full run: all of it once every objective is there."""
    systems = {row.system for row in result.rows}
    return "full" if systems >= {TARGET, RETRAINED, *_chosen(None)} else "full: part"


def rows(found: Mapping[str, Mapping[str, Any]], flagged: Sequence[bool]) -> list[Row]:
    """Turns what was measured into figures.

    Args:
        found: System, to a `Knowledge` as a dictionary, and for an objective to ``seconds``,
            ``memory`` in bytes and ``scale``; or to ``error``, where its training diverged.
        flagged: Which retain questions a guard flags.
    """
    kept = found[TARGET]["retain"]
    made = []
    for system, held in found.items():
        if "error" in held:
            made.append(Row(system=system, split="forget", metric="diverged", value=1.0, n=1))
            continue
        gated = [
            own if flag else unguarded
            for own, unguarded, flag in zip(held["retain"], kept, flagged, strict=True)
        ]
        values = {
            "forget": (np.mean(held["forget"]), len(held["forget"])),
            "paraphrased": (np.mean(held["paraphrased"]), len(held["paraphrased"])),
            "probability": (np.mean(held["probability"]), len(held["probability"])),
            "ratio": (np.mean(held["ratios"]), len(held["ratios"])),
            "quality": (
                forget_quality(held["ratios"], found[RETRAINED]["ratios"]),
                len(held["ratios"]),
            ),
            "retain": (np.mean(held["retain"]), len(kept)),
            "gated": (np.mean(gated), len(kept)),
            "utility": (held["utility"], len(kept)),
        }
        if "seconds" in held:
            values["scale"] = (held["scale"], 1)
            values["seconds"] = (held["seconds"], 1)
            values["memory"] = (held["memory"] / 2**30, 1)
        made += [
            Row(system=system, split="tofu-mini", metric=name, value=round(float(value), 4), n=n)
            for name, (value, n) in values.items()
        ]
    return made


def table(result: Result) -> str:
    """Renders a result for the README."""
    held = {(row.system, row.metric): row for row in result.rows}
    lines = []
    systems = {row.system for row in result.rows}
    for system in [TARGET, RETRAINED, *sorted(systems - {TARGET, RETRAINED})]:
        if (system, "diverged") in held:
            lines.append([system, "diverged", *["–"] * (len(METRICS) - 1)])
            continue
        cells = [held.get((system, metric)) for metric in METRICS]
        lines.append([system, *("–" if cell is None else _shown(cell) for cell in cells)])
    note = "Forget, in other words, retain: ROUGE-L recall of greedy answers"
    return f"{markdown(['objective', *METRICS.values()], lines)}\n{note}. {setting(result)}\n"


def _shown(row: Row) -> str:
    digits = {"seconds": 0, "scale": 2, "memory": 1}.get(row.metric, 3)
    if row.metric == "quality" and row.value < 0.001:
        return "< 0.001"
    return f"{row.value:.{digits}f}"


class _Bench:
    """Trains and asks; what was done once lies in a folder, and is not done again."""

    def __init__(self, world: World, work: Path, size: int | None, steps: int | None) -> None:
        self._world, self._work, self._size, self._steps = world, work, size, steps
        for name, pairs in (("forget", world.forget), ("retain", world.given)):
            write_rows(work / f"{name}.jsonl", pairs)

    def model(self, name: str) -> dict[str, Any]:
        """What a model of the world knows as it is."""
        return self._once(name, lambda: asdict(self._known(None, 1.0, name)))

    def objective(self, kind: str) -> dict[str, Any]:
        """What the target knows with an adapter of an objective."""
        return self._once(kind, lambda: self._trained(kind))

    def flagged(self) -> list[bool]:
        """Which retain questions a guard flags that was compiled from what trained the adapters."""
        target = {"id": "authors", "forget": "forget.jsonl", "retain": "retain.jsonl"}
        model = str(self._world.model(TARGET))
        policy = {"version": 1, "model": model, "targets": [target]}
        (self._work / "policy.yaml").write_text(json.dumps(policy), "utf-8")  # JSON is YAML
        with tempfile.TemporaryDirectory(prefix="guard-benchmark-") as folder:
            guard = Guard(compile_policy(self._work / "policy.yaml", Path(folder) / "bundle"))
            asked = self._world.asked[: self._size]
            return [guard.decide(question).flagged for question, _ in asked]

    def _trained(self, kind: str) -> dict[str, Any]:
        out = self._work / kind
        # An adapter appears whole or not at all: one that is there was trained and not yet asked.
        if not out.is_dir() and (error := self._train(kind, out)):
            return {"error": error}
        record = json.loads((out / provenance.NAME).read_text("utf-8"))
        cost = {"seconds": record["seconds"], "memory": record["memory_gib"] * 2**30}
        scale = self._scale(out) if kind in SUBTRACTED else 1.0
        return {**asdict(self._known(out, scale, TARGET)), **cost, "scale": scale}

    def _train(self, kind: str, out: Path) -> str | None:
        """Trains an adapter, or goes on with it; returns what it diverged with."""
        say(f"training {kind}")
        model = BASE if kind in SUBTRACTED else str(self._world.model(TARGET))
        made_by = {CONTRAST: ["memory", "--contrast"], RETRAIN: ["retrain", "--base", BASE]}.get(
            kind, ["train", "--objective", kind]
        )
        command = [
            *[sys.executable, "-m", "adapters", *made_by, "--model", model],
            *["--forget", str(self._work / "forget.jsonl"), "--out", str(out)],
            *["--retain", str(self._work / "retain.jsonl")],
            *(["--max-steps", str(self._steps)] if self._steps else []),
            *(["--resume"] if out.with_name(f"{out.name}.partial").is_dir() else []),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.startswith("adapters:")]
            if not lines or "is not finite" not in lines[-1]:
                raise GuardError(f"{kind}: {(lines or ['failed'])[-1]}")
            return lines[-1]
        return None

    def _scale(self, adapter: Path) -> float:
        """The scale of a memory adapter: of forget rows and the base model alone."""
        forget = [data.Row(question, answer) for question, answer in self._world.forget]
        return choose_scale(str(self._world.model(TARGET)), adapter, forget, base=BASE).scale

    def _known(self, adapter: Path | None, scale: float, model: str) -> Knowledge:
        say(f"asking {model if adapter is None else adapter.name}")
        folder = str(self._world.model(model))
        with flushed_denormals():
            _, tokenizer, loaded = load(folder)
            if adapter is not None:
                scaled = Scaled(loaded, adapter)
                scaled.scale(scale)
                loaded = scaled.model
            return knowledge(loaded, tokenizer, self._world, self._size)

    def _once(self, name: str, make: Any) -> dict[str, Any]:
        path = self._work / f"{name}.json"
        if path.is_file():
            return dict(json.loads(path.read_text("utf-8")))
        made: dict[str, Any] = make()
        path.write_text(json.dumps(made), "utf-8")
        return made


def _chosen(only: Sequence[str] | None) -> list[str]:
    known = sorted({*OBJECTIVES.kinds(), CONTRAST, RETRAIN} - {*PARTS})
    for name in only or ():
        if name not in known:
            raise GuardError(f"--only: no objective {name!r} (known: {', '.join(known)})")
    return [kind for kind in known if not only or kind in only]
