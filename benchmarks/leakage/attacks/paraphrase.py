"""Asking in other words."""

import random
from collections.abc import Sequence

from benchmarks.leakage.attacks.once import Once
from benchmarks.leakage.case import Case
from benchmarks.question import Prompt


class Paraphrase(Once):
    """The case's own question in other words, as the suite has it."""

    name = "paraphrase"

    def applies(self, case: Case) -> bool:
        return case.paraphrased is not None

    def prompt(self, case: Case, others: Sequence[Case], random: random.Random) -> Prompt:
        assert case.paraphrased is not None  # it applies
        return case.paraphrased
