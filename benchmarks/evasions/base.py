"""What an evasion is: a question in, the same question as an attacker would put it out.

The transforms here are the attacker's. They share no code with the guard's defences, so that a
table which is wrong there is not wrong here as well.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.question import Prompt, Question

Make = Callable[[Question, random.Random], Prompt | None]


@dataclass(frozen=True)
class Evasion:
    """One way of asking around a detector.

    Attributes:
        name: What the results call it.
        make: Disguises a question; None where this way does not apply to it.
        undo: Gets the question back, where the disguise loses nothing.
        long: Whether the prompts are so long that few of them have to do.
    """

    name: str
    make: Make
    undo: Callable[[str], str] | None = None
    long: bool = False

    def __call__(self, question: Question, seed: int) -> Prompt | None:
        """Disguises a question: the same question and seed give the same prompt."""
        return self.make(question, random.Random(f"{seed} {self.name} {question.text}"))
