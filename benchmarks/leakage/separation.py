"""Nothing that is asked was there when a guard or an adapter was made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from benchmarks.leakage.case import Case, Suite
from benchmarks.leakage.overlap import Asked, Material
from benchmarks.split import shipped
from guard.errors import GuardError

_TELLING = 4  # words; shorter answers are in many texts by chance


class ProtocolError(GuardError):
    """A comparison would not be fair."""


@dataclass(frozen=True)
class Seen:
    """Which cases something was made from, and from which of its rows that is known.

    Attributes:
        questions: Numbers of cases whose question was there.
        paraphrases: Those whose question in other words was there.
        answers: Those whose right or wrong answers of the evaluation were there.
        rows: Numbers of the rows.
    """

    questions: frozenset[int] = frozenset()
    paraphrases: frozenset[int] = frozenset()
    answers: frozenset[int] = frozenset()
    rows: frozenset[int] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.cases)

    @property
    def cases(self) -> frozenset[int]:
        """Numbers of all these cases."""
        return self.questions | self.paraphrases | self.answers

    def __or__(self, other: "Seen") -> "Seen":
        return Seen(
            self.questions | other.questions,
            self.paraphrases | other.paraphrases,
            self.answers | other.answers,
            self.rows | other.rows,
        )


def forgotten(split: str) -> bool:
    """Whether a split is of what is forgotten; all others are to be kept, or were never learned."""
    return split.startswith("forget")


def seen(suite: Suite) -> Mapping[str, Seen]:
    """Returns, by split, what a guard must not have been given; splits without any are left out."""
    forget, retain = Material(suite.given.forget), Material(suite.given.retain)
    found = {}
    for name, cases in suite.splits.items():
        here = _forget_rows(name, cases, forget) | _seen(cases, retain) | _seen(cases, _shipped())
        if here:
            found[name] = here
    return found


def clean(suite: Suite) -> Suite:
    """Separates what is asked from what is given, and says how in the notes.

    A retain row that is also asked is no longer given. What is asked and resembles a forget row
    that is not its own, or a text that comes with the guard, is no longer asked.
    """
    retain = Material(suite.given.retain)
    every = [_seen(cases, retain) for cases in suite.splits.values()]
    taken = frozenset[int]().union(*(here.rows for here in every))
    kept = tuple(row for number, row in enumerate(suite.given.retain) if number not in taken)
    notes = list(suite.notes)
    if taken:
        notes.append(f"given: {len(taken)} retain rows are not, being near to what is asked")
    forget = Material(suite.given.forget)
    splits = {}
    for name, cases in suite.splits.items():
        here = _forget_rows(name, cases, forget) | _seen(cases, _shipped())
        splits[name] = tuple(
            _without(case, number, here)
            for number, case in enumerate(cases)
            if number not in here.questions
        )
        counts = {
            "questions": here.questions,
            "paraphrases": here.paraphrases - here.questions,
            "answers in other words": here.answers - here.questions,
        }
        if here:
            told = ", ".join(f"{len(which)} {what}" for what, which in counts.items() if which)
            notes.append(f"{name}: left out, being near to what a guard has: {told}")
    given = replace(suite.given, retain=kept)
    return replace(suite, given=given, splits=splits, notes=tuple(notes))


def check(suite: Suite) -> None:
    """Proves that a suite asks nothing that it gives, but for the forget rows themselves.

    Raises:
        ProtocolError: It does; the message says of which split and how many, never which.
    """
    for name, here in seen(suite).items():
        raise ProtocolError(
            f"{suite.name}, {name}: of {len(suite.splits[name])} cases, {len(here.questions)} "
            f"questions, {len(here.paraphrases)} paraphrases and {len(here.answers)} answers are "
            "among what a guard has; take them out of one of the two"
        )
    given = Material(suite.given.forget)
    for name, cases in suite.splits.items():
        asked = [case for case in cases if forgotten(name) and not case.passage]
        own = sum(bool(given.same(case.question)) for case in asked)
        if own not in (0, len(asked)):
            raise ProtocolError(
                f"{suite.name}, {name}: {own} of {len(asked)} questions are given and the others "
                "are not; make two splits of them, since their figures mean different things"
            )


@cache
def _shipped() -> Material:
    """What comes with the guard: background prompts and examples."""
    return Material((), shipped())


def _forget_rows(name: str, cases: Sequence[Case], forget: Material) -> Seen:
    """What a split has in common with the forget rows, but for the rows themselves.

    A forget question that is given is the operator's own; one that only resembles a given one is
    not, and a paraphrase never is. Questions may quote the documents that they are about.
    """
    if not forgotten(name):
        return _seen(cases, forget)
    here = _seen(cases, forget, runs=False)
    own = {n for n, case in enumerate(cases) if case.passage or forget.same(case.question)}
    return replace(here, questions=here.questions - own)


def _seen(cases: Sequence[Case], material: Material, *, runs: bool = True) -> Seen:
    asked = {n: case.question or case.answer for n, case in enumerate(cases)}
    told = {n: case.paraphrased for n, case in enumerate(cases) if case.paraphrased}
    rows: set[int] = set()

    def side(texts: Mapping[int, str]) -> frozenset[int]:
        found = material.find([_asked(cases[n], text, runs) for n, text in texts.items()])
        rows.update(*found)
        return frozenset(n for n, where in zip(texts, found, strict=True) if where)

    questions, paraphrases = side(asked), side(told)
    answers = set()
    for n, case in enumerate(cases):
        for text in (case.right, *case.wrong):
            if text and text != case.answer and len(text.split()) >= _TELLING:
                where = material.same(text)
                rows |= where
                if where:
                    answers.add(n)
    return Seen(questions, paraphrases, frozenset(answers), frozenset(rows))


def _asked(case: Case, text: str, runs: bool) -> Asked:
    whole = f"{text} {case.answer}" if case.passage and case.question else text
    return Asked(text, case.answer if case.question else "", whole if runs else "")


def _without(case: Case, number: int, here: Seen) -> Case:
    if number in here.paraphrases:
        case = replace(case, paraphrased=None)
    if number in here.answers:
        case = replace(case, right=None, wrong=())
    return case
