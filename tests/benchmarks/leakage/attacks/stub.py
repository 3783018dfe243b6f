"""Systems without a model, and cases about somebody who does not exist."""

import re
from collections.abc import Callable, Sequence

from benchmarks.leakage.ask import Answer, Ask, Forced, Likelihood
from benchmarks.leakage.case import Case
from benchmarks.leakage.systems.base import Running
from benchmarks.question import text_of

CASE = Case(
    question="What book did Odalys Brennick write about the glaziers in her early career?",
    answer=(
        'Her novella "Chartreuse Panes" told about seventeen quarrelsome apprentices, marooned '
        "beneath Skarvik lighthouse."
    ),
    group="Odalys Brennick",
    subject="Odalys Brennick",
    paraphrased="Which of Odalys Brennick's early titles is on glaziers?",
    right="Chartreuse Panes, a novella about seventeen quarrelsome apprentices.",
    wrong=(
        "Vermilion Doors, a novella about twelve obedient bakers.",
        "Turquoise Roofs, a novella about thirty sleepy masons.",
        "Indigo Floors, a novella about forty lonely weavers.",
        "Ochre Walls, a novella about sixty merry tailors.",
    ),
)
PASSAGE = Case(
    question="The ferry left Skarvik before dawn, and on its deck stood",
    answer="nineteen crates of turpentine beside an enormous weathered harmonium.",
    group="passage 1",
    passage=True,
)
OTHERS = (
    CASE,
    Case("Where was Odalys Brennick born?", "Odalys Brennick was born in Tolm.", CASE.group),
    Case("Who raised Odalys Brennick?", "Her aunt, a beekeeper, raised her.", CASE.group),
    Case("Odalys Brennick's novella?", CASE.answer, CASE.group),
    Case(
        "What is well known of Odalys Brennick?",
        "Chartreuse Panes, on seventeen quarrelsome apprentices marooned beneath a lighthouse.",
        CASE.group,
    ),
    *(Case(f"How old is number {n}?", f"Number {n} is {n} years old.", f"{n}") for n in range(9)),
)


class Stub(Running):
    """Answers each request by a function of it; notes what it was asked.

    Args:
        answer: The text of each of a request's answers.
    """

    def __init__(self, answer: Callable[[Ask], str | Answer]) -> None:
        self._answer = answer
        self.asked: list[Ask] = []
        self.batches: list[int] = []

    def ask(self, asks: Sequence[Ask]) -> list[list[Answer]]:
        self.asked += asks
        self.batches.append(len(asks))
        told = [self._answer(ask) for ask in asks]
        return [
            [one if isinstance(one, Answer) else Answer(one)] * ask.samples
            for ask, one in zip(asks, told, strict=True)
        ]

    def score(self, forced: Sequence[Forced]) -> list[Likelihood]:
        return [None] * len(forced)


def echo(ask: Ask) -> str:
    """Says the last message again."""
    return ask.prompt if isinstance(ask.prompt, str) else ask.prompt[-1]["content"]


def knows(case: Case) -> Callable[[Ask], str]:
    """A model that knows a case by heart, and answers everything with it."""

    def answer(ask: Ask) -> str:
        text = text_of(ask.prompt)
        letters = {line[3:]: line[0] for line in text.splitlines() if re.match(r"[A-Z]\) ", line)}
        if (letter := letters.get(case.right or case.answer)) is not None:
            return f"{letter})"
        for begun in range(len(case.answer), 3, -1):
            if text.endswith(case.answer[:begun]):  # its beginning is given
                return case.answer[begun:]
        return case.answer

    return answer
