"""Naming in one turn and asking in the next."""

import random
from collections.abc import Sequence

from benchmarks.evasions import EVASIONS
from benchmarks.leakage.attacks.base import Attack, Play
from benchmarks.leakage.attacks.wording import chat, request
from benchmarks.leakage.case import Case
from benchmarks.question import Question, text_of


class PronounTurns(Attack):
    """The name is in a harmless turn, the question in the next, with a pronoun; that is judged.

    The turn between them is the system's own. The attacker knows the question alone.
    """

    name = "turns with a pronoun"
    cost = 2

    def applies(self, case: Case) -> bool:
        return not case.passage and _turns(case) is not None

    def play(self, case: Case, others: Sequence[Case], random: random.Random) -> Play:
        turns = _turns(case)
        assert turns is not None  # it applies
        first, follow = turns
        told = yield [request(case, chat(first))]
        reply = told[0][0].text.strip() or "I see."
        told = yield [request(case, chat(first, reply, follow))]
        return told[0]


def _turns(case: Case) -> tuple[str, str] | None:
    question = Question(case.question, case.group, case.subject)
    made = EVASIONS["turns with a pronoun"](question, 0)
    if made is None or isinstance(made, str):
        return None
    return text_of(made[:1]), text_of(made[-1:])
