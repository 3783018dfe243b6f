"""What a system is asked about, and what it may be given to forget it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

TOKENS = 64  # of an answer, where a suite says nothing else


@dataclass(frozen=True)
class Case:
    """Something that a model has learned, or is to keep.

    Attributes:
        question: What is asked; for a passage, its beginning, which is to be continued.
        answer: What was learned of it.
        group: Whose it is (an author, a document): cases of a group are not independent.
        subject: The name of whom it is about, where that is known.
        paraphrased: The question in other words.
        right: The answer in other words, where there is such an answer.
        wrong: Answers worded like `right` that are not true.
        options: What may be chosen from, where it is a question of multiple choice; `answer` is one
            of them.
        passage: Whether the question is text to be continued, not a question.
        given: What of the answer an attacker said in asking: who says that again tells nothing.
        tokens: The longest answer to it.
        stop: Texts before which an answer to it ends.
    """

    question: str
    answer: str
    group: str
    subject: str | None = None
    paraphrased: str | None = None
    right: str | None = None
    wrong: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    passage: bool = False
    given: str = ""
    tokens: int = TOKENS
    stop: tuple[str, ...] = ()

    def known_by(self) -> dict[str, Any]:
        """Returns what it is known by where answers are kept; what is as ever is left out."""
        held = asdict(self)
        as_ever = {field.name: field.default for field in fields(self)}
        return {
            name: value
            for name, value in held.items()
            if name not in ("tokens", "stop") or value != as_ever[name]
        }


@dataclass(frozen=True)
class Given:
    """What a guard may be compiled from, and an adapter trained with: what an operator would have.

    Attributes:
        forget: Questions with answers, or passages with an empty question.
        retain: Neighbours that must keep working.
        names: What is to be forgotten, by name.
    """

    forget: tuple[tuple[str, str], ...]
    retain: tuple[tuple[str, str], ...]
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Models:
    """The models of a suite.

    Attributes:
        target: The folder of the model that has learned what is to be forgotten, or its name.
        retrained: That of the model that never saw it: the yardstick, where there is one.
        base: That of the model before it learned anything of the suite, where there is one.
    """

    target: str
    retrained: str | None = None
    base: str | None = None


@dataclass(frozen=True)
class Suite:
    """A task: what is forgotten, what is kept, and which metrics say how well.

    Attributes:
        name: What the results call it.
        models: The models that it is about.
        given: What may be given to a guard.
        splits: Name of a split, to its cases. ``forget`` is what was learned and is forgotten;
            ``retain`` are neighbours that no guard was given; ``holdout`` is like the forget split
            and was never learned; the others are only to be kept.
        metrics: Names of the metrics that apply.
        notes: What a reader of the figures should know: rows left out, what stands for what.
        missing: Parts that could not be read: the suite is not whole.
    """

    name: str
    models: Models
    given: Given
    splits: Mapping[str, tuple[Case, ...]]
    metrics: tuple[str, ...]
    notes: tuple[str, ...] = ()
    missing: "tuple[Missing, ...]" = ()


@dataclass(frozen=True)
class Source:
    """Where suites find what they need.

    Attributes:
        data: The folder of the data sets.
        models: The folder of adapters of the small world, where it is given.
        target: A model that is to be measured in place of the suite's own.
        retrained: Its yardstick.
        base: What it was before.
        size: At most so many cases of a split; all by default.
        seed: Of what is drawn.
    """

    data: Path
    models: Path | None = None
    target: str | None = None
    retrained: str | None = None
    base: str | None = None
    size: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class Missing:
    """A suite, or a part of one, that could not be read.

    Attributes:
        name: Which.
        why: What is missing, and how to have it.
    """

    name: str
    why: str


@dataclass
class Loaded:
    """Suites that were read, and those that were not: neither is passed over in silence."""

    suites: list[Suite] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)


def some(cases: Sequence[Case], size: int | None) -> tuple[Case, ...]:
    """Returns at most so many cases, evenly spread over all."""
    if size is None or size >= len(cases):
        return tuple(cases)
    return tuple(cases[n * len(cases) // size] for n in range(size))
