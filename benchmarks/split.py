"""Proof that nothing a detector is evaluated with was there when it was made."""

import importlib.resources
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from benchmarks.question import Question
from guard.errors import GuardError

_SIGNS = re.compile(r"[\W_]+")


class SplitError(GuardError):
    """An evaluation question was among what a detector was made from."""


@dataclass(frozen=True)
class Target:
    """One target as a policy would give it.

    Attributes:
        forget: Forget rows, as in a JSON-lines file.
        retain: Retain rows.
        names: The names that a keyword filter would be given; the guard is not given them.
    """

    forget: tuple[Mapping[str, str], ...]
    retain: tuple[Mapping[str, str], ...]
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fold:
    """What detectors are made from, and the questions that they have never seen.

    Attributes:
        targets: Target id to its rows.
        positives: Questions that must be flagged.
        negatives: Questions about the held-out neighbours, which must not be.
    """

    targets: Mapping[str, Target]
    positives: tuple[Question, ...]
    negatives: tuple[Question, ...]


@dataclass(frozen=True)
class Suite:
    """One benchmark of detection.

    Attributes:
        name: What the results call it.
        folds: The folds; each holds other neighbours out.
        neighbours: What the negatives of the folds are.
        elsewhere: Further negatives by name, from nowhere near the targets: for every fold.
        benign: Everyday prompts by name: so many that they are for the first fold.
        extra: Further positives by name, the same in another language, say: for the first fold.
        dropped: Evaluation questions left out because they were also given to the compiler.
    """

    name: str
    folds: tuple[Fold, ...]
    neighbours: str
    elsewhere: Mapping[str, tuple[Question, ...]] = field(default_factory=dict)
    benign: Mapping[str, tuple[Question, ...]] = field(default_factory=dict)
    extra: Mapping[str, tuple[Question, ...]] = field(default_factory=dict)
    dropped: int = 0


def normalised(text: str) -> str:
    """A text as it is compared: compatibility forms, case, accents and punctuation do not count."""
    # Case is folded behind the forms: a mathematical A is one only then.
    wide = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    bare = "".join(char for char in wide if unicodedata.category(char) != "Mn")
    return _SIGNS.sub(" ", bare).strip() or text


def given(fold: Fold) -> frozenset[str]:
    """Every text, normalised, that the compiler is given for a fold or brings along itself."""
    rows = (row for t in fold.targets.values() for row in (*t.forget, *t.retain))
    return frozenset(normalised(text) for row in rows for text in row.values()) | shipped()


@cache
def shipped() -> frozenset[str]:
    """Every text in the JSON-lines files that come with the packages: background, examples."""
    found = set()
    for package in ("guard", "adapters"):
        for file in _files(importlib.resources.files(package)):
            lines = file.read_text("utf-8").splitlines()
            found |= {normalised(text) for line in lines if line for text in _texts(line)}
    return frozenset(found)


def without(
    questions: Iterable[Question], forbidden: frozenset[str]
) -> tuple[tuple[Question, ...], int]:
    """Leaves out the questions that were given, and says how many those are."""
    every = tuple(questions)
    kept = tuple(one for one in every if normalised(one.text) not in forbidden)
    return kept, len(every) - len(kept)


def check(suite: Suite) -> None:
    """Proves the split.

    Raises:
        SplitError: Some evaluation question was given to the compiler; the message says of which
            set and fold, and how many, but never which.
    """
    for number, fold in enumerate(suite.folds):
        forbidden = given(fold)
        sets = {"positives": fold.positives, suite.neighbours: fold.negatives}
        for name, asked in {**sets, **suite.elsewhere, **suite.benign, **suite.extra}.items():
            _, seen = without(asked, forbidden)
            if seen:
                raise SplitError(
                    f"{suite.name}, fold {number}: {seen} of {len(asked)} questions of {name!r} "
                    "are in the forget, retain or background rows; take them out of one of the two"
                )
        authors = {question.group for question in fold.positives}
        shared = authors & {question.group for question in fold.negatives}
        if shared:
            raise SplitError(
                f"{suite.name}, fold {number}: {len(shared)} groups are on both sides; "
                "a question is either to be flagged or not"
            )


def _files(folder: Any) -> Iterator[Any]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _files(entry)
        elif entry.name.endswith(".jsonl"):
            yield entry


def _texts(line: str) -> list[str]:
    """Every text in one JSON value, names of fields left out."""
    value = json.loads(line)
    if isinstance(value, Mapping):
        return [text for item in value.values() for text in _texts(json.dumps(item))]
    if isinstance(value, list):
        return [text for item in value for text in _texts(json.dumps(item))]
    return [value] if isinstance(value, str) else []
