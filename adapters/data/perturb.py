"""Answers of the same manner that say something else, for truth ratios and for what to unlearn to.

Facts are swapped for those of other rows; where an answer has none to swap, it is another row's
answer to the most similar question, said of this row's subject. TOFU has such answers for its
evaluation (arXiv 2401.06121, section 2.2.3); these are made of the training rows alone.
"""

import re
from collections.abc import Iterator, Sequence
from heapq import nsmallest
from itertools import chain
from random import Random

from adapters.data.alternatives import said
from adapters.data.facts import COUNTED, Pool, facts
from adapters.data.names import names
from guard.data import Row
from guard.normalize import fold

_ARTICLE = re.compile(r"\b([Aa])n? $")
_TRIES = 8  # per answer that is wanted; what is drawn twice counts once
_BARE = 4  # words of an answer that is no sentence
_SIMILAR = 12  # rows, of which one gives its answer


class Perturb:
    """Makes wrong answers.

    Args:
        rows: Whose facts and answers may be put in others' places: the forget rows and, so that
            there are enough, retain rows.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = [row for row in rows if row.answer and not row.is_name]
        self._pool = Pool(text for row in self._rows for text in (row.prompt, row.answer))
        self._words = [_asked(row.prompt) for row in self._rows]
        self._bare = [n for n, row in enumerate(self._rows) if _bare(row.answer)]

    def __call__(
        self, row: Row, random: Random, count: int, answer: str | None = None
    ) -> list[str]:
        """Returns wrong answers to a row's question, each another.

        Args:
            row: A question with its answer.
            random: What is drawn with; the same state gives the same.
            count: How many at most.
            answer: The right answer in other words, which the wrong ones are to keep; the row's
                own by default.

        Returns:
            As many as could be made: none where there is nothing to draw from.
        """
        answer = answer or row.answer
        known = {said(answer), said(row.answer)}
        found: list[str] = []
        drawn = (self._swapped(row.prompt, answer, random) for _ in range(_TRIES * count))
        told = (_framed(answer, row.answer, text) for text in self.transplanted(row, random))
        # A name alone does not say what it is a name of, but the question does.
        for text in chain(told, drawn) if _bare(row.answer) else chain(drawn, told):
            if len(found) == count:
                break
            if text and said(text) not in known:
                known.add(said(text))
                found.append(text)
        return found

    def _swapped(self, question: str, answer: str, random: Random) -> str | None:
        """Puts other facts in the place of all that the question does not name itself."""
        asked = set(fold(question).text.split())
        put: dict[str, str] = {}
        parts, end = [], 0
        for fact in facts(answer):
            if asked.issuperset(fold(fact.text).text.split()):
                continue
            other = put.get(fact.text) or self._pool.other(fact, random, put.values())
            if other is None:
                continue
            put[fact.text] = other
            parts += [_fitted(answer[end : fact.start], other), other]
            end = fact.end
        return "".join([*parts, answer[end:]]) if parts else None

    def transplanted(self, row: Row, random: Random) -> Iterator[str]:
        """Yields other rows' answers said of this subject, to the most similar questions first.

        Args:
            row: A question with its answer.
            random: What is drawn with, among questions that are as similar.
        """
        asked, own = _asked(row.prompt), names(row.prompt)
        among = self._bare if _bare(row.answer) else range(len(self._rows))
        close = nsmallest(
            _SIMILAR,
            (
                (-len(asked & words) / (len(asked | words) or 1), random.random(), n)
                for n, words in ((n, self._words[n]) for n in among)
            ),
        )
        for _, _, n in close:
            other = self._rows[n]
            text = _about(other.answer, names(other.prompt), own)
            if text is not None:
                yield text


def _bare(answer: str) -> bool:
    """Whether an answer is a name or another short phrase, and no date or number."""
    short = len(answer.split()) <= _BARE
    return short and not any(fact.kind in COUNTED for fact in facts(answer))


def _framed(answer: str, own: str, other: str) -> str:
    """Puts another answer into the words that stand around the own one, where they do."""
    inner = own.rstrip(".")
    return answer.replace(inner, other.rstrip(".")) if inner in answer else other


def _fitted(before: str, word: str) -> str:
    """Makes "a" at the end of a text an "an", or the reverse, for the word that follows."""
    return _ARTICLE.sub(rf"\1{'n' if word[0].lower() in 'aeiou' else ''} ", before)


def _asked(question: str) -> frozenset[str]:
    """The words of a question without its names: what it asks, whomever about."""
    for name in names(question):
        question = question.replace(name, " ")
    return frozenset(fold(question).text.split())


def _about(answer: str, theirs: Sequence[str], own: Sequence[str]) -> str | None:
    """Says an answer of another subject; None where the question does not say of which."""
    if not theirs:
        return answer
    if not own:
        return None if any(name in answer for name in theirs) else answer
    pairs = {theirs[0]: own[0]}
    for place in (-1, 0):  # "Brennick" or "Odalys" alone
        pairs.setdefault(theirs[0].split()[place], own[0].split()[place])
    named = "|".join(re.escape(name) for name in sorted(pairs, key=len, reverse=True))
    return re.sub(rf"\b(?:{named})\b", lambda match: pairs[match[0]], answer)
