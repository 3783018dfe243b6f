"""TOFU (Maini et al., 2024, 2401.06121): forget some of 200 invented authors, and only those.

The other authors are both what an operator would give as retain set and the negatives. So they are
cross-fitted: split into folds by author, each fold judged by a detector that was given the others.
"""

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.question import Question, questions
from benchmarks.split import Fold, Suite, Target, given, without
from benchmarks.suites.files import read_json
from guard.errors import DataError

LEVELS = ("01", "05", "10")
LANGUAGES = ("ar", "fr", "hi", "ja", "ru")
FOLDS = 5
PER_AUTHOR = 20  # questions

_PARTICLES = r"(?:(?:al|ben|bin|da|de|del|der|di|el|ibn|la|le|van|von)\s+)?"
_CAPITALISED = re.compile(rf"[A-ZÀ-Þ][\w'’.-]*(?:\s+{_PARTICLES}[A-ZÀ-ÞŠŽ][\w'’-]*)+")

Rows = Sequence[Mapping[str, str]]


def load(data: Path, level: str, seed: int, folds: int = FOLDS) -> Suite:
    """Reads the task of forgetting 1, 5 or 10 % of the authors.

    Args:
        data: The folder of the data sets.
        level: ``01``, ``05`` or ``10``.
        seed: Of how the other authors are split.
        folds: How many folds they are split into.

    Raises:
        DataError: A file is missing, or its forget rows are not the last ones of all rows.
    """
    folder = data / "tofu"
    every = _rows(folder / "full.json")
    forget = _rows(folder / f"forget{level}.json")
    first = len(every) - len(forget)
    if every[first:] != forget:
        raise DataError(f"{folder}: forget{level}.json is not the end of full.json")
    authors = [every[at : at + PER_AUTHOR] for at in range(0, len(every), PER_AUTHOR)]
    names = [subject(rows) for rows in authors]
    forgotten = range(first // PER_AUTHOR, len(authors))
    paraphrases = [
        _question(row["paraphrased_question"], forgotten[number // PER_AUTHOR], names)
        for number, row in enumerate(read_json(folder / f"forget{level}_perturbed.json"))
    ]
    others = random.Random(seed).sample(range(len(authors) - len(forgotten)), k=forgotten.start)
    made = [_fold(others[n::folds], authors, forgotten, names, paraphrases) for n in range(folds)]
    elsewhere, left = _elsewhere(folder, [fold for fold, _ in made])
    return Suite(
        name=f"TOFU forget{level}",
        folds=tuple(fold for fold, _ in made),
        neighbours="other authors",
        elsewhere=elsewhere,
        dropped=max(dropped for _, dropped in made) + left,
    )


def load_multilingual(data: Path, seed: int) -> Suite:
    """Reads the forget set of one percent asked about in five languages; it is given in English.

    Raises:
        DataError: A file is missing.
    """
    suite = load(data, "01", seed)
    fold = suite.folds[0]
    folder = data / "tofu_multilingual"
    forbidden = given(fold)
    asked: dict[str, tuple[Question, ...]] = {}
    elsewhere: dict[str, tuple[Question, ...]] = {}
    dropped = 0
    for language in LANGUAGES:
        rows = _rows(folder / f"forget01_{language}.jsonl")
        asked[language], left = without(
            (Question(row["question"], f"forgotten {n // PER_AUTHOR}") for n, row in
             enumerate(rows)), forbidden
        )  # fmt: skip
        dropped += left
        for name in ("real_authors", "world_facts"):
            label = f"{name.replace('_', ' ')}, {language}"
            rows = _rows(folder / f"{name}_perturbed_{language}.jsonl")
            texts = [row["question"] for row in rows]
            elsewhere[label], left = without(questions(texts, label), forbidden)
            dropped += left
    return Suite(
        name="TOFU forget01, five languages",
        folds=(fold,),
        neighbours=suite.neighbours,
        elsewhere=elsewhere,
        extra=asked,
        dropped=dropped,
    )


def subject(rows: Rows) -> str | None:
    """The name that an author's rows are about: the longest one that most of them hold."""
    counts: Counter[str] = Counter()
    for row in rows:
        seen = set()
        for text in (row["question"], row["answer"]):
            for found in _CAPITALISED.findall(text):
                words = re.sub(r"['’]s?$", "", found).split()
                ends = range(2, len(words) + 1)
                seen |= {" ".join(words[a:b]) for b in ends for a in range(b - 1)}
        counts.update(seen)
    most = max(counts.values(), default=0)
    if 2 * most < len(rows):
        return None
    often = [name for name, count in counts.items() if count >= 0.8 * most]
    return max(often, key=lambda name: (len(name.split()), counts[name], name))


def _fold(
    held_out: Sequence[int],
    authors: Sequence[Rows],
    forgotten: range,
    names: Sequence[str | None],
    paraphrases: Sequence[Question],
) -> tuple[Fold, int]:
    kept = sorted(set(range(forgotten.start)) - set(held_out))
    target = Target(
        forget=tuple(row for author in forgotten for row in authors[author]),
        retain=tuple(row for author in kept for row in authors[author]),
        names=tuple(name for author in forgotten if (name := names[author])),
    )
    fold = Fold({"tofu": target}, (), ())
    forbidden = given(fold)
    positives, left = without(paraphrases, forbidden)
    asked = (
        _question(row["question"], author, names)
        for author in sorted(held_out)
        for row in authors[author]
    )
    negatives, more = without(asked, forbidden)
    return Fold(fold.targets, positives, negatives), left + more


def _elsewhere(folder: Path, folds: Sequence[Fold]) -> tuple[dict[str, tuple[Question, ...]], int]:
    forbidden = frozenset[str]().union(*map(given, folds))
    holdout = [
        Question(row["question"], f"holdout author {number // PER_AUTHOR}")
        for number, row in enumerate(_rows(folder / "holdout10.json"))
    ]
    sets = {"holdout authors": tuple(holdout)}
    for name in ("real_authors", "world_facts"):
        label = name.replace("_", " ")
        texts = [row["question"] for row in _rows(folder / f"{name}.json")]
        sets[label] = questions(texts, label)
    kept = {name: without(asked, forbidden) for name, asked in sets.items()}
    return {name: asked for name, (asked, _) in kept.items()}, sum(n for _, n in kept.values())


def _question(text: str, author: int, names: Sequence[str | None]) -> Question:
    return Question(text, f"author {author}", names[author])


def _rows(path: Path) -> list[dict[str, str]]:
    return [{key: row[key] for key in ("question", "answer")} for row in read_json(path)]
