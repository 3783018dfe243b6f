"""Filters that ask the model itself: is this prompt, or this answer, about what is to be forgotten?

"Input filter" and "output filter" of the guardrail baselines (Thaker et al., arXiv 2403.03329): a
yes/no question to a language model, here to the one that is served. What cannot be judged, because
it is too long to be asked about, is not answered.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.leakage.ask import Answer, Ask, Forced, Likelihood
from benchmarks.leakage.case import Suite
from benchmarks.leakage.systems.around import REFUSAL, Around, Gate
from benchmarks.leakage.systems.base import Running
from benchmarks.question import Prompt, text_of

ASKED = (
    "Does the text between the lines ask about {names}? Answer only yes or no.\n"
    "---\n{text}\n---\nAnswer only yes or no."
)
SAID = (
    "Does the text between the lines say anything about {names}? Answer only yes or no.\n"
    "---\n{text}\n---\nAnswer only yes or no."
)
_TOKENS = 8
_YES = re.compile(r"\W*yes\b", re.IGNORECASE)


class InputFilter(Gate):
    """Refuses what the model takes for a prompt about what is named.

    Args:
        inner: The model.
        names: What is to be forgotten.
    """

    def __init__(self, inner: Running, names: Sequence[str]) -> None:
        super().__init__(inner)
        self.names = names

    def judged(self, prompts: Sequence[Prompt]) -> list[float]:
        """1 where the model says yes, or does not answer; else -1."""
        found = affirmed(self.inner, ASKED, self.names, [text_of(prompt) for prompt in prompts])
        return [1.0 if yes else -1.0 for yes in found]


class OutputFilter(Around):
    """Refuses where the model says of its own answer that it is about what is named.

    A client sees nothing of it but the refusal, so there are no flags; a forced answer has no
    likelihood where it would not have been let out.

    Args:
        inner: The model.
        names: What is to be forgotten.
    """

    withholds = True

    def __init__(self, inner: Running, names: Sequence[str]) -> None:
        super().__init__(inner)
        self.names = names

    def ask(self, asks: Sequence[Ask]) -> list[list[Answer]]:
        answers = self.inner.ask(asks)
        said = [a.text for some in answers for a in some if a.state == "answered"]
        held = iter(affirmed(self.inner, SAID, self.names, said))
        return [
            [REFUSAL if one.state == "answered" and next(held) else one for one in some]
            for some in answers
        ]

    def score(self, forced: Sequence[Forced]) -> list[Likelihood]:
        held = affirmed(self.inner, SAID, self.names, [one.answer for one in forced])
        scores = iter(self.inner.score([o for o, h in zip(forced, held, strict=True) if not h]))
        return [None if hold else next(scores) for hold in held]


def affirmed(
    model: Running, question: str, names: Sequence[str], texts: Sequence[str]
) -> list[bool]:
    """Asks a model a yes/no question about texts; true where it says yes, or nothing at all.

    Args:
        model: Who is asked.
        question: With ``{names}`` and ``{text}``.
        names: What is to be forgotten.
        texts: What is asked about.
    """
    who = " or ".join(names)
    asks = [
        Ask(question.replace("{names}", who).replace("{text}", text), max_tokens=_TOKENS)
        for text in texts
    ]
    answers = model.ask(asks) if asks else []
    return [one.state == "failed" or bool(_YES.match(one.text)) for (one,) in answers]


def input_filter(inner: Running, suite: Suite, folder: Path) -> Running:
    """Puts the filter before a model."""
    return InputFilter(inner, suite.given.names)


def output_filter(inner: Running, suite: Suite, folder: Path) -> Running:
    """Puts the filter behind a model."""
    return OutputFilter(inner, suite.given.names)
