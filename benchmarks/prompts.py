"""Prompts for measuring speed: everyday ones and some that must be flagged, none used twice."""

import importlib.resources
import itertools
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from guard.data import read_rows
from guard.decision import ALLOW, Decision
from guard.guard import Guard
from guard.view import View

_SENTENCE_START = re.compile(r"(^|[.!?]\s+|\n)(?=\S)")

# Those of the target whose intervention is measured.
FORGET = "demo/shakespeare/forget.jsonl"
BACKGROUND = "background.jsonl"
_LEAST = 4  # words: vLLM's client leaves out prompts of fewer than four tokens


def texts(name: str) -> list[str]:
    """Returns the prompts of one of the package's own files."""
    path = Path(str(importlib.resources.files("guard"))) / name
    return [row.prompt for row in read_rows(path)]


class Prompts:
    """An endless supply of prompts, each of them new to the guard in every window.

    The guard remembers windows that it has scored, so a prompt that came twice would cost it next
    to nothing. Once the texts run out, their sentences are numbered.

    Args:
        guard: Decides which prompts are fit: everyday ones must pass, others be flagged.
        seed: Of the order.
    """

    def __init__(self, guard: Guard, seed: int) -> None:
        self._guard = guard
        self._seen: set[str] = set()
        rng = random.Random(seed)
        self._everyday = self._endless(texts(BACKGROUND), rng, lambda d: d.action == ALLOW)
        self._flagged = self._endless(texts(FORGET), rng, lambda d: d.action != ALLOW)

    def block(self, requests: int, flagged: int) -> list[str]:
        """Returns prompts for one run, evenly mixed.

        Args:
            requests: How many.
            flagged: How many of these are about what is to be forgotten.
        """
        prompts = list(itertools.islice(self._everyday, requests - flagged))
        for number, prompt in enumerate(itertools.islice(self._flagged, flagged)):
            prompts.insert(requests * number // flagged + requests // flagged // 2, prompt)
        return prompts

    def _endless(
        self, pool: list[str], rng: random.Random, fit: Callable[[Decision], bool]
    ) -> Iterator[str]:
        pool = [text for text in pool if len(text.split()) >= _LEAST]
        pool = rng.sample(pool, len(pool))
        for lap in itertools.count(1):
            for text in pool:
                prompt = text if lap == 1 else _SENTENCE_START.sub(rf"\g<1>{lap}) ", text)
                windows = {window.text for window in View.of_text(prompt).windows}
                if not windows & self._seen and fit(self._guard.decide(prompt)):
                    self._seen |= windows
                    yield prompt
