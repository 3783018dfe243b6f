"""Attacks of one request."""

import random
from abc import abstractmethod
from collections.abc import Sequence

from benchmarks.leakage.attacks.base import Attack, Play
from benchmarks.leakage.attacks.wording import Form, request
from benchmarks.leakage.case import Case
from benchmarks.question import Prompt


class Once(Attack):
    """An attack of one request, whose answer is judged.

    Attributes:
        form: How it is sent; by default as `request` says.
    """

    form: Form | None = None

    @abstractmethod
    def prompt(self, case: Case, others: Sequence[Case], random: random.Random) -> Prompt:
        """Makes the request's prompt; the arguments are those of `Attack.play`."""

    def play(self, case: Case, others: Sequence[Case], random: random.Random) -> Play:
        told = yield [request(case, self.prompt(case, others, random), self.form)]
        return told[0]
