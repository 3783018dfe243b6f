"""What the readers of names and facts know: phrases, what each tells, and of whom."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from guard.output.meaning import Claims
from guard.output.misspelt import Nearly
from guard.output.phrases import Phrases

NAME, TELLING, WEAK, HINT = "name", "telling", "weak", "hint"
SIGN, CLUE = "sign", "clue"  # of questions, not of answers


class Fact(NamedTuple):
    """What a phrase tells.

    Attributes:
        target: The target's number.
        form: The phrase, folded.
        kind: ``name``, ``telling``, ``weak`` or ``hint``; of questions ``sign`` or ``clue``.
        rows: The forget rows whose answers hold it; or whose questions.
    """

    target: int
    form: str
    kind: str
    rows: frozenset[int]


@dataclass(frozen=True)
class Owned:
    """What is known of one target beside its phrases.

    Attributes:
        target: Its id.
        called: Its names, as written.
        written: What each forget row's answer tells, as written.
        line: A similarity that reaches it is a hit.
        claims: What its rows claim; None where nothing is to be weighed.
    """

    target: str
    called: tuple[str, ...]
    written: Sequence[tuple[str, ...]]
    line: float
    claims: Claims | None


@dataclass(frozen=True)
class Memory:
    """What all readers of a check share.

    Attributes:
        phrases: What must not leave, or may not.
        names: Names that are nearly written.
        asked: What questions say of whom they mean.
        targets: What is known of each target.
    """

    phrases: Phrases[Fact]
    names: Nearly[Fact]
    asked: Phrases[Fact]
    targets: Sequence[Owned]
