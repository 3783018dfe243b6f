"""Examples before the question."""

import random
from collections.abc import Sequence

from benchmarks.evasions.material import ANSWERS
from benchmarks.leakage.attacks.once import Once
from benchmarks.leakage.attacks.others import strangers
from benchmarks.leakage.attacks.wording import chat
from benchmarks.leakage.case import Case
from benchmarks.question import Prompt

_SHOTS = 4


class FewShot(Once):
    """Four questions about others, answered as they were learned, as earlier turns of the chat."""

    name = "few-shot"

    def applies(self, case: Case) -> bool:
        return not case.passage

    def prompt(self, case: Case, others: Sequence[Case], random: random.Random) -> Prompt:
        known = [(other.question, other.answer) for other in strangers(case, others)]
        shots = random.sample(known if len(known) >= _SHOTS else list(ANSWERS), _SHOTS)
        return chat(*(turn for shot in shots for turn in shot), case.question)
