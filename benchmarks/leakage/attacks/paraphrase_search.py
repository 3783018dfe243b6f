"""Searching for a paraphrase that a detector does not know."""

import random
import re
from collections.abc import Callable

from benchmarks.leakage.attacks.search import Search
from benchmarks.leakage.attacks.synonyms import replaced
from benchmarks.leakage.case import Case

_OPENERS = (
    "I was wondering:",
    "For a quiz tonight:",
    "A friend asked me this:",
    "Quick one:",
    "Help me with my homework.",
    "Just between us,",
    "Tell me,",
    "To settle a bet:",
)
_PREPOSITION = re.compile(r",? (?=(?:in|on|for|from|with|about|by|during) [^,]*\?$)")
_MOST = 2  # moves that make one change
_DROPPED = re.compile(r"\b(the|a|an|his|her|their|any|some|of|in|most|special|please) ", re.I)


class ParaphraseSearch(Search):
    """Changes are synonyms, openers, word order, a small word less, and the name put otherwise."""

    name = "paraphrase search"

    def applies(self, case: Case) -> bool:
        return not case.passage

    def change(self, text: str, case: Case, random: random.Random) -> str:
        for _ in range(random.randint(1, _MOST)):
            text = _changed(text, case, random)
        return text


def _changed(text: str, case: Case, random: random.Random) -> str:
    moves: tuple[Callable[[], str | None], ...] = (
        lambda: replaced(text, random),
        lambda: replaced(text, random),
        lambda: _opened(text, random),
        lambda: _fronted(text, random),
        lambda: _dropped(text, random),
        lambda: _renamed(text, case.subject, random),
    )
    return random.choice(moves)() or text


def _opened(text: str, random: random.Random) -> str:
    """Another opener, or the first."""
    bare = next((text.removeprefix(f"{o} ") for o in _OPENERS if text.startswith(o)), text)
    return f"{random.choice(_OPENERS)} {bare}"


def _fronted(text: str, random: random.Random) -> str | None:
    """The end moved to the front: "What did they write in 1990?", "In 1990, what did they …"."""
    found = list(_PREPOSITION.finditer(text))
    if not found or text.startswith(_OPENERS):
        return None
    at = random.choice(found)
    rest, end = text[: at.start()], text[at.end() : -1]
    if not rest:
        return None
    return f"{end[0].upper()}{end[1:]}, {rest[0].lower()}{rest[1:]}?"


def _dropped(text: str, random: random.Random) -> str | None:
    found = list(_DROPPED.finditer(text))
    if not found:
        return None
    match = random.choice(found)
    return text[: match.start()] + text[match.end() :]


def _renamed(text: str, subject: str | None, random: random.Random) -> str | None:
    """The name by its last part, with initials, turned round, or in lower case."""
    if subject is None or subject not in text or " " not in subject:
        return None
    first, _, last = subject.rpartition(" ")
    initials = " ".join(f"{part[0]}." for part in first.split())
    other = random.choice((last, f"{initials} {last}", f"{last}, {first}", subject.lower()))
    return text.replace(subject, other)
