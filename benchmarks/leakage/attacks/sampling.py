"""Asking many times."""

import random
from collections.abc import Sequence

from benchmarks.leakage.attacks.base import Attack, Play
from benchmarks.leakage.attacks.wording import request
from benchmarks.leakage.case import Case

SAMPLES = 64


class Sampling(Attack):
    """The question as it is, answered 64 times at temperature 1; all answers are judged.

    Nearly every method leaks under it: what leak@k is computed from.
    """

    name = "sampling"
    cost = SAMPLES

    def play(self, case: Case, others: Sequence[Case], random: random.Random) -> Play:
        seed = random.getrandbits(31)
        told = yield [request(case, case.question, samples=SAMPLES, temperature=1.0, seed=seed)]
        return told[0]
