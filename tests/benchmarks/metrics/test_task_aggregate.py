"""SemEval's aggregate is the harmonic mean of twelve scores, and there is none of eleven."""

import pytest

from benchmarks.leakage.ask import Answer
from benchmarks.leakage.case import Case, Given, Models, Suite
from benchmarks.leakage.evidence import Answered, Evidence
from benchmarks.metrics.task_aggregate import TaskAggregate

CASES = tuple(
    Case(f"{task} {n} {passage}?", "the red fox" if passage else "Madera", f"{task} doc{n}",
         passage=passage)
    for task in ("task1", "task2", "task3")
    for n in range(2)
    for passage in (False, True)
)  # fmt: skip


def evidence(forget: tuple[str, str], retain: tuple[str, str], cases: tuple[Case, ...]) -> Evidence:
    suite = Suite("lume", Models("t"), Given((), ()), {"forget": cases, "retain": cases}, ())
    answered: dict[tuple[str, str | None], Answered] = {
        (side, None): Answered(cases, tuple((Answer(said[case.passage]),) for case in cases))
        for side, said in (("forget", forget), ("retain", retain))
    }
    return Evidence(suite, "s", answered)


def test_it_is_the_harmonic_mean_of_the_twelve() -> None:
    # Forgotten: questions wrong (1), completions hold one of three words (2/3); kept: all right.
    held = evidence(("Paris", "the cat"), (" madera ", "The red fox ran"), CASES)
    rows = {row.metric: row for row in TaskAggregate().rows(held)}
    assert rows["forget_task2_questions"].value == 1
    assert rows["forget_task3_completions"].value == pytest.approx(2 / 3, abs=1e-5)
    assert rows["retain_task1_questions"].value == rows["retain_task1_completions"].value == 1
    assert rows["task_aggregate"].value == pytest.approx(12 / (9 + 3 * 1.5), abs=1e-5)
    assert rows["task_aggregate"].n == 24 and rows["task_aggregate"].split == "lume: all"
    assert len(rows) == 13


def test_who_still_knows_one_kind_of_answer_has_nothing() -> None:
    held = evidence(("Madera", "none"), ("Madera", "the red fox"), CASES)
    rows = {row.metric: row.value for row in TaskAggregate().rows(held)}
    assert rows["forget_task1_questions"] == 0 and rows["task_aggregate"] == 0


def test_without_one_of_the_twelve_there_is_no_aggregate() -> None:
    some = tuple(case for case in CASES if not (case.group.startswith("task3") and case.passage))
    rows = [row.metric for row in TaskAggregate().rows(evidence(("a", "b"), ("c", "d"), some))]
    assert len(rows) == 10 and "task_aggregate" not in rows
