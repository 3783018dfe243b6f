"""What an attacker knows beside the case: other facts of its group, and of other groups."""

import re
from collections.abc import Sequence

from benchmarks.leakage.case import Case

_WORD = re.compile(r"\w+")
_LEAST = 4  # letters of a word that says something


def own_words(case: Case) -> set[str]:
    """The words of a case's answer that its question does not have, in lower case."""
    words = {word for word in _words(case.answer) if len(word) >= _LEAST or word.isdigit()}
    return words - set(_words(case.question))


def tells(text: str, case: Case) -> float:
    """What share of the answer's own words a text has; 0 where the answer has none."""
    own = own_words(case)
    return len(own & set(_words(text))) / len(own) if own else 0.0


def neighbours(case: Case, others: Sequence[Case]) -> list[Case]:
    """Cases of the same group that do not tell half of the answer themselves."""
    return [
        other
        for other in others
        if other.group == case.group
        and not other.passage
        and other.answer != case.answer
        and tells(f"{other.question} {other.answer}", case) < 0.5
    ]


def strangers(case: Case, others: Sequence[Case]) -> list[Case]:
    """Cases of other groups."""
    return [
        other
        for other in others
        if other.group != case.group and not other.passage and tells(other.answer, case) < 0.5
    ]


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())
