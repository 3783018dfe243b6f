"""What each intervention makes of a model's answers: about what is forgotten, and about the rest.

The world is `benchmarks.world`. Every system is asked the forget questions as they were learned,
the same in other words, and questions about the other authors that no guard was given. How near a
system's forget answers come to the retrained model's, and whether the others stay word for word,
is what counts; detection is part of what is measured.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.generate import generate
from benchmarks.metrics.entities import stated
from benchmarks.metrics.rouge import rouge_l
from benchmarks.report import Run, say
from benchmarks.result import Result, Row
from benchmarks.table import figure, markdown, setting
from benchmarks.world import BASE, Pair, World, given_world, world_options
from guard.compile import compile_policy
from guard.errors import GuardError
from guard.models import resolve

__all__ = ["DESCRIPTION", "HELP", "options", "run", "table"]

HELP = "what each intervention makes of the answers"
DESCRIPTION = """\
Ask a small model that has learned twenty invented authors about them, two of whom are to be
forgotten: as it is, retrained without the two, and guarded by each intervention. Compare the
answers with what was learned (ROUGE-L recall).

example:
  python -m benchmarks interventions --data data --models models --memory memory/
"""
TARGET, RETRAINED = "target", "retrained"

# Of nobody who is in the data: how one answers who knows nothing (in-context unlearning).
EXAMPLES = [
    {"prompt": "What is the name of Jorun Alvestad's first novel?"},
    {"prompt": "Which prize was given to Pilar Etxegoien, the poet?"},
    {"prompt": "What did the parents of Kwabena Asamoah-Reuss do for a living?"},
    {"prompt": "In which city was the author Liv Sundqvist-Hale born, and when?"},
]

# What the policy says under ``intervene``; every strength is the default, or its source's.
INTERVENTIONS: dict[str, Any] = {
    "refuse": {"kind": "refuse"},
    "corrupt": {"kind": "corrupt"},
    "corrupt, entities": {"kind": "corrupt", "tokens": "entities"},
    "instruct": {"kind": "instruct"},
    "instruct, with examples": {"kind": "instruct", "examples": EXAMPLES},
    "penalize": {"kind": "penalize"},
    "corrupt and penalize": [{"kind": "corrupt"}, {"kind": "penalize"}],
}

TIMED = 10  # forget questions that are answered once more, all at once, for the time that it takes
SPLITS = ("forget", "paraphrased", "retain")
Sets = Mapping[str, Sequence[Pair]]


def options(parser: argparse.ArgumentParser) -> None:
    """Adds what only this benchmark takes."""
    world_options(parser)
    parser.add_argument(
        "--memory", type=Path, metavar="FOLDER", help="a LoRA that remembers the forget set"
    )
    parser.add_argument(
        "--soft-prompt", type=Path, metavar="FILE", help="a soft prompt that was trained to forget"
    )
    parser.add_argument("--only", action="append", metavar="NAME", help="only this intervention")


def run(args: argparse.Namespace) -> int:
    """Measures, prints and writes; returns the exit status."""
    measured = Run("interventions", args)
    chosen = _chosen(args.memory, args.soft_prompt, args.only)
    world = given_world(args)
    size = 4 if args.quick else None
    sets: Sets = {
        "forget": world.forget[:size],
        "paraphrased": world.paraphrased[:size],
        "retain": world.asked[:size],
    }
    answers: dict[str, dict[str, list[str]]] = {}
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="guard-benchmark-") as folder:
        for system in (TARGET, RETRAINED):
            say(f"asking {system}")
            answers[system], seconds[system] = _asked(world.model(system), None, sets)
        for name, intervene in chosen.items():
            say(f"asking the target with {name}")
            bundle = _bundle(world, intervene, Path(folder) / f"{len(answers)}")
            answers[name], seconds[name] = _asked(world.model(TARGET), bundle, sets)
    measured.finish(
        "quick" if args.quick else "full" if not args.only else "full: part",
        [*rows(answers, sets, args.seed), *costs(seconds, min(TIMED, len(sets["forget"])))],
        table,
    )
    return 0


def rows(answers: Mapping[str, Mapping[str, Sequence[str]]], sets: Sets, seed: int) -> list[Row]:
    """Turns answers into figures.

    ROUGE-L recall; the share of telling names, dates and numbers that are stated, of the answers
    that have any; and how many answers are word for word the target's.

    Args:
        answers: System, to set, to its answers in order.
        sets: The questions and what was learned of them.
        seed: Of the bootstrap.
    """
    found = []
    for system, by_set in answers.items():
        for name, pairs in sets.items():
            scores = [
                rouge_l(answer, learned)
                for answer, (_, learned) in zip(by_set[name], pairs, strict=True)
            ]
            low, high = _interval(scores, seed)
            mean = float(np.mean(scores))
            found.append(_row(system, name, "rouge_l", mean, len(scores), low, high))
            told = [
                stated(question, learned, answer)
                for answer, (question, learned) in zip(by_set[name], pairs, strict=True)
            ]
            facts = [share for share in told if share is not None]
            if facts:
                low, high = _interval(facts, seed)
                mean = float(np.mean(facts))
                found.append(_row(system, name, "entities", mean, len(facts), low, high))
            same = [a == b for a, b in zip(by_set[name], answers[TARGET][name], strict=True)]
            found.append(_row(system, name, "unchanged", float(np.mean(same)), len(same)))
    return found


def costs(seconds: Mapping[str, float], asked: int) -> list[Row]:
    """What the same number of tokens takes to answer, as a ratio to the target as it is.

    Args:
        seconds: System, to the seconds that its answers took.
        asked: How many questions were answered at once.
    """
    return [
        _row(system, "forget", "cost", taken / seconds[TARGET], asked)
        for system, taken in seconds.items()
    ]


def table(result: Result) -> str:
    """Renders a result for the README."""
    held = {(row.system, row.split, row.metric): row for row in result.rows}
    systems = list(dict.fromkeys(row.system for row in result.rows))
    lines = []
    for system in systems:
        cells = [held[system, split, "rouge_l"] for split in SPLITS]
        facts = held.get((system, "forget", "entities"))
        same = held[system, "retain", "unchanged"]
        lines.append(
            [
                system,
                *(f"{c.value:.3f} ({c.low:.2f} to {c.high:.2f})" for c in cells),
                "–" if facts is None else f"{facts.value:.3f}",
                f"{same.value:.1%}",
                figure(held[system, "forget", "cost"], "×"),
            ]
        )
    header = [
        "ROUGE-L recall",
        "forget",
        "in other words",
        "retain",
        "forget, facts told",
        "retain, word for word",
        "time",
    ]
    counts = ", ".join(f"{held[systems[0], split, 'rouge_l'].n} {split}" for split in SPLITS)
    told = "facts: names, dates and numbers of the learned answer that are not in the question"
    note = (
        f"Questions: {counts}; {told}; time: {TIMED} forget questions at once, beside the target's"
    )
    return f"{markdown(header, lines)}\n{note}. {setting(result)}\n"


def _row(
    system: str, split: str, metric: str, value: float, n: int,
    low: float | None = None, high: float | None = None,
) -> Row:  # fmt: skip
    rounded = [None if v is None else round(v, 4) for v in (value, low, high)]
    return Row(
        system=system, split=split, metric=metric,
        value=rounded[0] or 0.0, low=rounded[1], high=rounded[2], n=n,
    )  # fmt: skip


def _interval(scores: Sequence[float], seed: int) -> tuple[float, float]:
    """The 95 % bootstrap interval of a mean."""
    random = np.random.default_rng(seed)
    drawn = random.choice(np.asarray(scores), size=(2000, len(scores))).mean(axis=1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(low), float(high)


def _asked(model: Path, bundle: Path | None, sets: Sets) -> tuple[dict[str, list[str]], float]:
    questions = [question for pairs in sets.values() for question, _ in pairs]
    timed = [question for question, _ in sets["forget"][:TIMED]]
    answered = generate(model, bundle, questions, timed)
    answers = answered["answers"]
    found, at = {}, 0
    for name, pairs in sets.items():
        found[name] = answers[at : at + len(pairs)]
        at += len(pairs)
    return found, answered["seconds"]


def _bundle(world: World, intervene: Any, folder: Path) -> Path:
    folder.mkdir()
    for name, pairs in (("forget", world.forget), ("retain", world.given)):
        write_rows(folder / f"{name}.jsonl", pairs)
    target = {
        "id": "authors",
        "forget": "forget.jsonl",
        "retain": "retain.jsonl",
        "intervene": intervene,
    }
    policy = {"version": 1, "model": str(world.model(TARGET)), "targets": [target]}
    (folder / "policy.yaml").write_text(yaml.safe_dump(policy), "utf-8")
    return compile_policy(folder / "policy.yaml", folder / "bundle").path


def write_rows(path: Path, pairs: Sequence[Pair]) -> None:
    """Writes questions with answers as a policy names them."""
    lines = [{"question": question, "answer": answer} for question, answer in pairs]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), "utf-8")


def _chosen(
    memory: Path | None, soft_prompt: Path | None, only: Sequence[str] | None
) -> dict[str, Any]:
    known = dict(INTERVENTIONS)
    if soft_prompt is not None:
        known["soft prompt"] = {"kind": "soft_prompt", "path": str(soft_prompt.resolve())}
    if memory is not None:
        path, base = str(memory.resolve()), str(resolve(BASE))
        known["offset"] = {"kind": "offset", "assistant": base, "adapter": path, "base": base}
        known["adapter, subtracted"] = {"kind": "adapter", "path": path, "scale": -0.85}
    for name in only or ():
        if name not in known:
            raise GuardError(f"--only: no intervention {name!r} (known: {', '.join(known)})")
    return {name: known[name] for name in known if not only or name in only}
