"""Whether a text that is asked is among the texts that something was made from.

Three ways of being there count: the same words whatever their case, accents and punctuation; nearly
the same question, with the same names and numbers, and nearly the same answer; and a run of
thirteen words in common (the measure of contamination of Brown et al., 2020, arXiv 2005.14165,
appendix C).
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from benchmarks.split import normalised

NEAR = 90  # of 100: how alike question and answer must be, word order left aside
ALIKE = 95  # the same, of a question where one of the two has no answer to compare
RUN = 13  # words
_LONG = 60  # words; of longer texts, runs say enough
_TELLING = re.compile(r"(?<!^)\b(?:[^\W\d_a-z]\w*|\w*\d\w*)")

Pair = tuple[str, str]  # a question and its answer; either may be empty


class Asked(NamedTuple):
    """What is looked up.

    Attributes:
        text: What is asked.
        answer: What was learned of it; empty where that is not to be compared.
        whole: All of a passage, or the question once more.
    """

    text: str
    answer: str
    whole: str


class Material:
    """Texts that a guard, an adapter or a threshold was made from.

    Args:
        pairs: Questions with answers, or passages with an empty question: the rows, from 0.
        texts: Further rows, without answers, normalised already.
    """

    def __init__(self, pairs: Iterable[Pair], texts: Iterable[str] = ()) -> None:
        given = list(pairs)
        self._told = [_told(question) for question, _ in given]
        rows = [(_clean(question), _clean(answer)) for question, answer in given]
        rows += [(text, "") for text in texts]
        self._rows = [(question or answer, answer if question else "") for question, answer in rows]
        self._same: dict[str, tuple[int, ...]] = {}
        self._runs: dict[int, tuple[int, ...]] = {}
        for number, pair in enumerate(rows):
            whole = " ".join(filter(None, pair))
            for text in dict.fromkeys(filter(None, (*pair, whole))):
                self._same[text] = (*self._same.get(text, ()), number)
            for run in dict.fromkeys(_runs(whole)):
                self._runs[run] = (*self._runs.get(run, ()), number)

    def same(self, text: str) -> frozenset[int]:
        """Which rows hold a text as question, answer or both, word for word."""
        return frozenset(self._same.get(_clean(text), ()))

    def find(self, asked: Sequence[Asked]) -> list[frozenset[int]]:
        """Which rows each of what is asked is among, in any of the three ways."""
        near = self._near(
            [(_clean(one.text), _clean(one.answer)) for one in asked],
            [_told(one.text) for one in asked],
        )
        return [
            self.same(one.text).union(
                near.get(number, ()),
                *(self._runs.get(run, ()) for run in _runs(_clean(one.whole))),
            )
            for number, one in enumerate(asked)
        ]

    def _near(
        self, asked: Sequence[Pair], told: Sequence[frozenset[str]]
    ) -> Mapping[int, set[int]]:
        import numpy as np
        from rapidfuzz import fuzz, process

        here = [number for number, (question, _) in enumerate(asked) if _short(question)]
        there = [number for number, (question, _) in enumerate(self._rows) if _short(question)]
        found: dict[int, set[int]] = {}
        if not here or not there:
            return found
        alike = process.cdist(
            [_sorted(asked[number][0]) for number in here],
            [_sorted(self._rows[number][0]) for number in there],
            scorer=fuzz.ratio,
            score_cutoff=NEAR,
            dtype=np.uint8,
        )
        for at, row in np.argwhere(alike > 0):
            wanted, had = asked[here[at]][1], self._rows[there[row]][1]
            if wanted and had:
                close = told[here[at]] == self._told[there[row]]
                close = close and fuzz.ratio(_sorted(wanted), _sorted(had)) >= NEAR
            else:
                close = bool(alike[at, row] >= ALIKE)
            if close:
                found.setdefault(here[at], set()).add(there[row])
        return found


def _clean(text: str) -> str:
    return normalised(text) if text else ""


def _told(text: str) -> frozenset[str]:
    """The words of a question that name something: capitalised ones but the first, and numbers."""
    return frozenset(map(_clean, _TELLING.findall(text)))


def _sorted(text: str) -> str:
    return " ".join(sorted(text.split()))


def _short(text: str) -> bool:
    return 0 < len(text.split()) <= _LONG


def _runs(text: str) -> Iterator[int]:
    """Yields a hash of each run of words: books have a million of them."""
    words = text.split()
    for at in range(len(words) - RUN + 1):
        yield hash(tuple(words[at : at + RUN]))
