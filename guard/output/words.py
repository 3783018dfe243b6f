"""The words of an answer as it grows, folded, and where each stands.

A word is what `guard.normalize.fold` makes of it; besides, one ends where small letters turn to
capitals or letters to digits ("BasilMahfouz", "born1956"), and in a script without spaces each
sign is one. What a text is split into does not depend on the pieces in which it came.
"""

import re
from typing import NamedTuple

from guard.normalize import fold
from guard.view import is_unspaced

_ASCII = re.compile(r"[A-Z]+[a-z]*|[a-z]+|[0-9]+")


class Word(NamedTuple):
    """A folded word and its place in the answer: its first character, and its last plus one."""

    text: str
    start: int
    end: int


def split(text: str, start: int = 0) -> list[Word]:
    """Splits a text into words.

    Args:
        text: The text.
        start: Where it stands in the answer.
    """
    if text.isascii():
        return [
            Word(match.group().lower(), start + match.start(), start + match.end())
            for match in _ASCII.finditer(text)
        ]
    folded = fold(text)
    origin = folded.origin
    words: list[Word] = []
    first = 0
    for at in range(1, len(folded.text) + 1):
        if at < len(folded.text) and not _parts(folded.text, text, origin[at - 1], origin[at], at):
            continue
        if word := folded.text[first:at].strip():
            words.append(Word(word, start + origin[first], start + origin[at - 1] + 1))
        first = at
    return words


def _parts(folded: str, source: str, before: int, after: int, at: int) -> bool:
    """Whether a word may end before a folded character."""
    left, right = folded[at - 1], folded[at]
    return (
        " " in (left, right)
        or left.isdigit() != right.isdigit()
        or is_unspaced(left)
        or is_unspaced(right)
        or (source[before].islower() and source[after].isupper())
    )


class Words:
    """Splits an answer as it grows; each call costs what is new."""

    def __init__(self) -> None:
        self._at = 0  # what comes before has been split

    def read(self, text: str, *, done: bool) -> tuple[list[Word], Word | None]:
        """Reads on.

        Args:
            text: The answer so far.
            done: Whether that is all.

        Returns:
            The words that are whole, each once; and the one that may go on, if any.
        """
        tail = text[self._at :]
        words = split(tail, self._at)
        last = None if done or not words or self._closed(tail) else words.pop()
        while last and words and words[-1].end > last.start:  # one sign that folds to several words
            last = words.pop()
        self._at = last.start if last else len(text)
        return words, last

    @staticmethod
    def _closed(tail: str) -> bool:
        """Whether the last word of a text cannot go on."""
        if tail.isascii():
            return not tail[-1].isalnum()
        end = fold(tail + "a").text
        return end.endswith(" a") or is_unspaced(end[-2])
