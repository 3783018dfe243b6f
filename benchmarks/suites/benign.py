"""Everyday prompts that nothing about any target is in."""

import random
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.question import Question, questions
from benchmarks.split import shipped, without
from benchmarks.suites.files import read_csv, read_json, read_object


def _clinc(folder: Path) -> list[str]:
    splits = read_object(folder / "clinc150_data_full.json")
    return [text for split in splits.values() for text, _ in split]


def _turns(file: str) -> Callable[[Path], list[str]]:
    return lambda folder: [turn for row in read_json(folder / file) for turn in row["turns"]]


def _field(file: str, field: str) -> Callable[[Path], list[str]]:
    return lambda folder: [row[field] for row in read_json(folder / file)]


def _instructions(file: str) -> Callable[[Path], list[str]]:
    """Each instruction with the input of its first instance."""
    return lambda folder: [
        f"{row['instruction']}\n{row['instances'][0]['input']}".strip()
        for row in read_json(folder / file)
    ]


SETS: Mapping[str, Callable[[Path], list[str]]] = {
    "CLINC150": _clinc,
    "Banking77": lambda folder: read_csv(folder / "banking77_test.csv", "text"),
    "GSM8K": _field("gsm8k_test.jsonl", "question"),
    "XSTest": _field("xstest_safe_only.jsonl", "prompt"),
    "MT-Bench": _turns("mt_bench_question.jsonl"),
    "Vicuna": _turns("vicuna_bench_question.jsonl"),
    "Self-Instruct seeds": _instructions("self_instruct_seed_tasks.jsonl"),
    "Self-Instruct user": _instructions("self_instruct_user_oriented_instructions.jsonl"),
}


def load(data: Path, count: int | None, seed: int) -> tuple[dict[str, tuple[Question, ...]], int]:
    """Reads every set.

    Args:
        data: The folder of the data sets.
        count: How many prompts to draw of each; all of them where that is None.
        seed: Of what is drawn.

    Returns:
        Name to its prompts, and how many were left out because the guard ships with them.
    """
    found, dropped = {}, 0
    for name, read in SETS.items():
        texts = [text for text in dict.fromkeys(read(data / "benign")) if text.strip()]
        kept, left = without(questions(texts, name), shipped())
        if count is not None and count < len(kept):
            kept = tuple(random.Random(f"{seed} {name}").sample(kept, count))
        found[name], dropped = kept, dropped + left
    return found, dropped
