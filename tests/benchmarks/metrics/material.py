"""Small evidence, made up."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.leakage.ask import Answer, Likelihood
from benchmarks.leakage.case import Case, Given, Models, Suite
from benchmarks.leakage.evidence import Answered, Evidence, Metric, Scored
from benchmarks.result import Row

Key = tuple[str, str, str | None]  # figure, split, attack

FAILED = Answer("", "failed")
BLOCKED = Answer("I cannot say.", "blocked")


def cases(*answers: str, **more: Any) -> tuple[Case, ...]:
    """Cases, each of a group of its own."""
    return tuple(Case(f"Question {n}?", text, f"g{n}", **more) for n, text in enumerate(answers))


def answered(held: Sequence[Case], *answers: str | Answer | Sequence[str | Answer]) -> Answered:
    """Answers to cases: one, or several, each."""
    several = [[one] if isinstance(one, str | Answer) else one for one in answers]
    return Answered(
        tuple(held),
        tuple(tuple(Answer(a) if isinstance(a, str) else a for a in some) for some in several),
    )


def scored(held: Sequence[Case], *answer: Likelihood, **more: Any) -> Scored:
    return Scored(tuple(held), answer, **more)


def evidence(
    said: Mapping[tuple[str, str | None], Answered] | None = None,
    told: Mapping[str, Scored] | None = None,
    target: Evidence | None = None,
    retrained: Evidence | None = None,
) -> Evidence:
    splits = {split: held.cases for (split, _), held in (said or {}).items()}
    splits |= {split: held.cases for split, held in (told or {}).items()}
    suite = Suite("toy", Models("target"), Given((), ()), splits, ())
    return Evidence(suite, "system", said or {}, told or {}, target, retrained)


def rows(metric: Metric, held: Evidence) -> dict[Key, Row]:
    """The rows of a metric: by figure, split and attack."""
    found: dict[Key, Row] = {}
    for row in metric.rows(held):
        key = (row.metric, (row.split or "").removeprefix("toy: "), row.attack)
        assert key not in found and row.system == "system"
        found[key] = row
    return found


def seen(row: Row) -> tuple[Any, int | None]:
    """A row's value, and its n."""
    return row.value, row.n


def beside(
    held: Evidence, target: Evidence | None = None, retrained: Evidence | None = None
) -> Evidence:
    """The same with a target or a retrained model."""
    return replace(held, target=target, retrained=retrained)
