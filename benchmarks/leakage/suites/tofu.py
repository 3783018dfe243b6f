"""TOFU in full (Maini et al., COLM 2024, arXiv 2401.06121): forget 1, 5 or 10 % of 200 authors.

Whoever runs it gives the models: one that learned all 4,000 questions, and one that learned those
that are kept. The retain questions that are asked are TOFU's own evaluation rows, the first 400;
a guard is given the others.
"""

from collections.abc import Sequence

from adapters.data.files import Record
from benchmarks.leakage.case import Case, Given, Source, Suite
from benchmarks.leakage.suites import everyday
from benchmarks.leakage.suites.reading import (
    Parts,
    finished,
    given_models,
    pairs,
    records,
    texts,
)
from benchmarks.suites.tofu import PER_AUTHOR, subject
from guard.errors import DataError

LEVELS = ("01", "05", "10")
HUB = "locuslab/TOFU"
EVALUATED = 400  # retain rows, with paraphrases and wrong answers
METRICS = (
    "rouge_l", "entities", "leak_at_k", "probability", "truth_ratio", "forget_quality",
    "closeness", "utility", "unchanged", "refusal", "over_refusal", "repetition", "fluency",
    "perplexity", "forget_score", "kfr", "krr", "loss_mia", "min_k", "privacy_leak", "blocked",
    "failed",
)  # fmt: skip


def load(source: Source, level: str) -> Suite:
    """Reads the task of forgetting some percent of the authors.

    Raises:
        DataError: A file or the target model is missing, or the files do not fit one another.
    """
    name = f"tofu-{level}"
    models = given_models(source, name)
    parts = Parts(name)
    every, forget = rows(source, "full"), rows(source, f"forget{level}")
    first = len(every) - len(forget)
    if pairs(every)[first:] != pairs(forget):
        raise DataError(f"{name}: forget{level}.json is not the end of full.json")
    authors = subjects(every)
    asked = cases(rows(source, f"forget{level}_perturbed"), first, authors)
    retain = cases(rows(source, "retain_perturbed"), 0, authors)
    if [(case.question, case.answer) for case in asked] != list(pairs(forget)):
        raise DataError(f"{name}: forget{level}_perturbed.json is not of forget{level}.json")
    splits = {
        "forget": asked,
        "retain": retain,
        "holdout": parts.read("holdout", lambda: holdout(source, level)),
        **elsewhere(source),
        **everyday.everyday(source, parts),
    }
    given = Given(
        forget=pairs(forget),
        retain=pairs(every[EVALUATED:first]),
        names=tuple(name for name in authors[first // PER_AUTHOR :] if name),
    )
    suite = Suite(name, models, given, splits, METRICS, missing=parts.missing)
    return finished(suite, source)


def rows(source: Source, name: str) -> list[Record]:
    """Reads one of TOFU's files."""
    return records(source, "tofu", f"{name}.json", HUB)


def subjects(every: Sequence[Record]) -> list[str | None]:
    """Returns the name of each author, in order; None where their rows do not agree on one."""
    plain = [{"question": question, "answer": answer} for question, answer in pairs(every)]
    return [subject(plain[at : at + PER_AUTHOR]) for at in range(0, len(plain), PER_AUTHOR)]


def cases(
    perturbed: Sequence[Record], first: int, authors: Sequence[str | None]
) -> tuple[Case, ...]:
    """Returns the cases of a file with paraphrases and wrong answers.

    Args:
        perturbed: Its rows, twenty an author.
        first: Where they begin in the whole of TOFU.
        authors: Every author's name.
    """
    return tuple(
        Case(
            row.text("question"),
            row.text("answer"),
            group=f"author {at // PER_AUTHOR}",
            subject=authors[at // PER_AUTHOR],
            paraphrased=row.text("paraphrased_question"),
            right=row.text("paraphrased_answer"),
            wrong=texts(row, "perturbed_answer"),
        )
        for at, row in enumerate(perturbed, first)
    )


def holdout(source: Source, level: str) -> tuple[Case, ...]:
    """Reads questions about authors that no model has learned."""
    return tuple(
        Case(question, answer, group=f"holdout author {number // PER_AUTHOR}")
        for number, (question, answer) in enumerate(pairs(rows(source, f"holdout{level}")))
    )


def elsewhere(source: Source, every: int = 1) -> dict[str, tuple[Case, ...]]:
    """Reads questions about real authors and about the world, all or every so many.

    Their right answers are the answers themselves: they have none in other words.
    """
    return {
        name.replace("_", " "): tuple(
            Case(
                row.text("question"),
                row.text("answer"),
                group=f"{name} {number}",
                wrong=texts(row, "perturbed_answer"),
            )
            for number, row in enumerate(rows(source, f"{name}_perturbed")[::every])
        )
        for name in ("real_authors", "world_facts")
    }
