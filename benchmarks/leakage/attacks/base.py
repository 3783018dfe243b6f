"""The contract of an attack: a conversation with a system about one case."""

import random
from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence

from benchmarks.leakage.ask import Answer, Ask
from benchmarks.leakage.case import Case

# Yields requests and is sent their answers (a list for each request: its samples); returns the
# answers that are judged. All cases of an attack go forward together, so that a system is asked in
# large batches.
Play = Generator[Sequence[Ask], Sequence[Sequence[Answer]], Sequence[Answer]]

# What an attacker may know of an answer: how many words it has and what those begin with; its first
# words; a name or number in it; that it is one of several; other facts of its group.
KNOWN = frozenset({"initials", "opening", "fact", "options", "group"})


class Attack(ABC):
    """One way of getting at what is forgotten.

    Attributes:
        name: What the results call it.
        cost: Answers that are drawn for one case, at most; so that runs can be planned.
        budget: The same, where the attack searches and may end before.
        knows: What the attacker knows of the answer (`KNOWN`); nothing else of it is in a prompt.
    """

    name: str
    cost: int = 1
    budget: int | None = None
    knows: frozenset[str] = frozenset()

    @abstractmethod
    def play(self, case: Case, others: Sequence[Case], random: random.Random) -> Play:
        """Asks about a case.

        Args:
            case: What is to be found out. Its answer may only be used where the attacker is said to
                know of it (what is known is in the attack's docstring).
            others: Cases of which the attacker knows everything: for examples in a prompt.
            random: All chance comes from it.
        """

    def gives(self, case: Case, others: Sequence[Case], random: random.Random) -> str:
        """Returns what of the case's answer the attacker says in asking, where it `knows` any.

        Args:
            case: What it asks about.
            others: As in `play`.
            random: In the state that `play` begins with.
        """
        return ""

    def applies(self, case: Case) -> bool:
        """Whether the case can be asked about in this way."""
        return True
