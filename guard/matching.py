"""Many phrases looked up in one pass over a text (Aho and Corasick), at word boundaries."""

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

import ahocorasick

from guard.normalize import Folded, fold
from guard.view import is_unspaced

T = TypeVar("T")


class PhraseMatcher(Generic[T]):
    """Finds folded phrases in any text, whatever its case, accents, punctuation or spacing.

    Args:
        phrases: Folded phrase to its payload.
    """

    def __init__(self, phrases: Mapping[str, T]) -> None:
        self._automaton = ahocorasick.Automaton()
        for phrase, payload in phrases.items():
            if phrase:
                self._automaton.add_word(phrase, (len(phrase), payload))
        self._empty = len(self._automaton) == 0
        if not self._empty:
            self._automaton.make_automaton()

    def find(self, text: str | Folded) -> Iterator[tuple[int, int, T]]:
        """Yields every match: its start and end in the given text, and the phrase's payload."""
        if self._empty:
            return
        folded = fold(text) if isinstance(text, str) else text
        for last, (length, payload) in self._automaton.iter(folded.text):
            start, end = last + 1 - length, last + 1
            if _bounded(folded.text, start) and _bounded(folded.text, end):
                yield *folded.span(start, end), payload


def _bounded(text: str, at: int) -> bool:
    """Whether a word may begin or end here: not inside a run of letters of a spaced script."""
    if at in (0, len(text)):
        return True
    before, after = text[at - 1], text[at]
    return " " in (before, after) or is_unspaced(before) or is_unspaced(after)
