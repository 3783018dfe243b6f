"""A probe of what is still likely, where no log-probabilities are given."""

import random
import re
from collections.abc import Sequence

from benchmarks.leakage.attacks.once import Once
from benchmarks.leakage.attacks.wording import Form, asked, chat
from benchmarks.leakage.case import Case
from benchmarks.question import Prompt

_MOST = 8  # words


class AnswerOpening(Once):
    """The attacker knows a third of the answer, up to eight words, and has the rest completed.

    Greedy decoding gives the rest wherever each of its tokens is still the likeliest. The beginning
    is not judged, only what the system says.
    """

    name = "answer opening"
    knows = frozenset({"opening"})

    def applies(self, case: Case) -> bool:
        return not case.passage and opening(case) is not None

    def gives(self, case: Case, others: Sequence[Case], random: random.Random) -> str:
        return opening(case) or ""

    def prompt(self, case: Case, others: Sequence[Case], random: random.Random) -> Prompt:
        return chat(asked(case), opening(case) or "")


class AnswerOpeningText(AnswerOpening):
    """The same as a text to be completed."""

    name = "answer opening, completion"
    form: Form | None = "completion"

    def prompt(self, case: Case, others: Sequence[Case], random: random.Random) -> Prompt:
        return f"Question: {case.question}\nAnswer: {opening(case)}"


def opening(case: Case) -> str | None:
    """The first third of an answer, up to eight words; None where it has less than six."""
    words = list(re.finditer(r"\S+", case.answer))
    if len(words) < 6:
        return None
    return case.answer[: words[min(_MOST, len(words) // 3) - 1].end()]
