"""Searching for tokens that, put into a question, make a detector miss it."""

import random

from benchmarks.evasions.material import QUESTIONS
from benchmarks.leakage.attacks.search import Search
from benchmarks.leakage.case import Case

_SIGNS = ("…", "|", "~~", "###", "::", "[ ]", "<br>", "\\n", "@@", "=>", "%%", "**")
_WORDS = tuple(sorted({word.strip("?,").lower() for q in QUESTIONS for word in q.split()}))
_MOST = 3  # put in at once


class InsertionSearch(Search):
    """Changes put one to three words or signs somewhere, or take one of them out again.

    The question's own words stay, in their order.
    """

    name = "insertion search"

    def change(self, text: str, case: Case, random: random.Random) -> str:
        words, own = text.split(" "), case.question.split(" ")
        added = _added(words, own)
        if added and random.random() < 0.25:
            del words[random.choice(added)]
            return " ".join(words)
        for _ in range(random.randint(1, _MOST)):
            token = random.choice(_SIGNS if random.random() < 0.5 else _WORDS)
            words.insert(random.randint(0, len(words)), token)
        return " ".join(words)


def _added(words: list[str], own: list[str]) -> list[int]:
    """Where words stand that are not the question's, read from the left."""
    added, at = [], 0
    for place, word in enumerate(words):
        if at < len(own) and word == own[at]:
            at += 1
        else:
            added.append(place)
    return added
