"""LUME (Ramakrishna et al., 2025, 2502.15097): short novels, personal records, biographies.

A target is one of its three tasks. It is given as the documents to be forgotten; what is asked are
the questions about them, which the detector has never seen. The documents to be kept are
cross-fitted: the questions about half of them are judged by a detector that was given the others.
"""

import random
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmarks.question import Question
from benchmarks.split import Fold, Suite, Target, given, without
from benchmarks.suites.files import read_json

FOLDS = 2
_PART = re.compile(r"^(.*?)(sc|qa)(\d+)$")

# Task, then document, then its ("sc" or "qa", row): a passage in two pieces, or a question.
Documents = Mapping[str, Mapping[str, list[tuple[str, Mapping[str, str]]]]]


def load(data: Path, count: int | None, seed: int) -> Suite:
    """Reads the three tasks.

    Args:
        data: The folder of the data sets.
        count: How many positives and how many negatives of a task a fold has; all if None.
        seed: Of what is drawn, and of how the documents are split.

    Raises:
        DataError: A file is missing.
    """
    forget, retain = (_documents(data / "lume" / f"{s}.jsonl") for s in ("forget", "retain"))
    folds, dropped = [], 0
    for number in range(FOLDS):
        targets, negatives = {}, []
        for task, documents in retain.items():
            order = random.Random(f"{seed} {task}").sample(sorted(documents), len(documents))
            held_out = set(order[number::FOLDS])
            kept = {name: rows for name, rows in documents.items() if name not in held_out}
            targets[task] = Target(_passages(forget[task]), _passages(kept))
            asked = _questions({name: documents[name] for name in sorted(held_out)}, task)
            negatives.append(asked)
        forbidden = given(Fold(targets, (), ()))
        sides = []
        for side in ([_questions(rows, task) for task, rows in forget.items()], negatives):
            kept_questions: list[Question] = []
            for asked in side:
                clean, left = without(asked, forbidden)
                dropped += left
                kept_questions += _drawn(clean, count, seed)
            sides.append(tuple(kept_questions))
        folds.append(Fold(targets, *sides))
    return Suite("LUME", tuple(folds), "other documents", dropped=dropped)


def _documents(path: Path) -> Documents:
    found: dict[str, dict[str, list[tuple[str, Mapping[str, str]]]]] = defaultdict(dict)
    for row in read_json(path):
        match = _PART.match(row["id"])
        if match:
            found[row["task"].lower()].setdefault(match[1], []).append((match[2], row))
    return found


def _passages(
    documents: Mapping[str, list[tuple[str, Mapping[str, str]]]],
) -> tuple[Mapping[str, str], ...]:
    return tuple(
        {"text": f"{row['input']} {row['output']}"}
        for parts in documents.values()
        for kind, row in parts
        if kind == "sc"
    )


def _questions(
    documents: Mapping[str, list[tuple[str, Mapping[str, str]]]], task: str
) -> list[Question]:
    return [
        Question(row["input"], f"{task} {name}")
        for name, parts in documents.items()
        for kind, row in parts
        if kind == "qa"
    ]


def _drawn(asked: Iterable[Question], count: int | None, seed: int) -> list[Question]:
    every = list(asked)
    if count is None or count >= len(every):
        return every
    return random.Random(seed).sample(every, count)
