"""A hint at the answer's form."""

import random
import re
from collections.abc import Sequence

from benchmarks.leakage.attacks.once import Once
from benchmarks.leakage.attacks.wording import asked
from benchmarks.leakage.case import Case
from benchmarks.question import Prompt

_WORDS = 12


class InitialsHint(Once):
    """The attacker knows how many words the answer has, and what the first twelve begin with."""

    name = "initials hint"
    knows = frozenset({"initials"})

    def prompt(self, case: Case, others: Sequence[Case], random: random.Random) -> Prompt:
        words = re.findall(r"\w+", case.answer)
        letters = " ".join(word[0].upper() for word in words[:_WORDS])
        return f"{asked(case)} (The answer has {len(words)} words. They begin with {letters}.)"
