"""What a system was seen to say: what metrics are computed from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from benchmarks.leakage.ask import Answer, Likelihood
from benchmarks.leakage.case import Case, Suite
from benchmarks.result import Row


@dataclass(frozen=True)
class Answered:
    """The answers to one set of cases, asked in one way.

    Attributes:
        cases: What was asked about.
        answers: For each case, the answers that are judged: one, or several samples or attempts.
    """

    cases: tuple[Case, ...]
    answers: tuple[tuple[Answer, ...], ...]


@dataclass(frozen=True)
class Scored:
    """The likelihoods of one set of cases.

    Attributes:
        cases: What was scored.
        answer: Of each case's answer.
        right: Of each case's answer in other words; None, too, where it has none. All of these may
            be empty where no case has any.
        wrong: Of each case's wrong answers.
        options: Of each case's options.
    """

    cases: tuple[Case, ...]
    answer: tuple[Likelihood, ...]
    right: tuple[Likelihood, ...] = ()
    wrong: tuple[tuple[Likelihood, ...], ...] = ()
    options: tuple[tuple[Likelihood, ...], ...] = ()


@dataclass(frozen=True)
class Evidence:
    """All that one system said in one suite.

    Attributes:
        suite: The suite.
        system: The system's name.
        answered: By split and attack; the attack is None where the case was asked as it is.
        scored: By split.
        target: What the unguarded model said.
        retrained: What the retrained model said: the yardstick, where there is one.
        seed: Of bootstraps.
        read: How likely its answers are to another model, by split: see
            `benchmarks.leakage.fluent`.
    """

    suite: Suite
    system: str
    answered: Mapping[tuple[str, str | None], Answered]
    scored: Mapping[str, Scored] = field(default_factory=dict)
    target: "Evidence | None" = None
    retrained: "Evidence | None" = None
    seed: int = 0
    read: Mapping[str, Scored] = field(default_factory=dict)


class Metric(Protocol):
    """A measure of evidence; one file in `benchmarks/metrics`, one line in its registry.

    Attributes:
        NAME: What the results call it.
        BETTER: ``higher``, ``lower`` or ``retrained``: what a good system's value is like.
        FIGURES: The same of each figure that it yields.
    """

    NAME: str
    BETTER: str
    FIGURES: ClassVar[dict[str, str]]

    def rows(self, evidence: Evidence) -> Iterable[Row]:
        """Computes its figures, for every split and attack that it applies to.

        ``Row.split`` is ``<suite>: <split>``; ``Row.attack`` is the attack, or None. Intervals are
        95 % bootstrap intervals over groups of cases.
        """
