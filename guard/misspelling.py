"""Which known words a word may be a misspelling of, at a cost that does not grow with their number.

Two words within k edits share a form that is left when up to k letters of each are taken out, so
those forms are looked up instead of the words compared (SymSpell: W. Garbe, 2012; symmetric
deletion after Mor and Fraenkel, 1982). Only the first letters are taken apart, as SymSpell does;
what is found is then measured in full.
"""

from collections.abc import Iterable, Iterator
from itertools import chain, combinations
from typing import TypeAlias

from rapidfuzz.distance import OSA

_PREFIX = 7  # letters that are taken apart; SymSpell's own default
_Form: TypeAlias = tuple[str, ...]


def bound(word: str) -> int:
    """How many edits (letters added, lost, changed, or two swapped) a word bears: 0, 1 or 2.

    A word of four letters bears one beside other words; by itself it is too near to too many.
    """
    if len(word) < 4 or not word.isalpha():
        return 0
    return 1 if len(word) < 8 else 2


class Misspellings:
    """Finds words by what is nearly their spelling.

    Args:
        words: Lower-case words; those too short to bear an edit are left out.
    """

    def __init__(self, words: Iterable[str]) -> None:
        self._forms: dict[_Form, list[str]] = {}
        self._longest = 0
        for word in dict.fromkeys(words):
            if edits := bound(word):
                self._longest = max(self._longest, len(word) + edits)
                for form in dict.fromkeys(shortened(word, edits)):
                    self._forms.setdefault(form, []).append(word)

    def near(self, word: str) -> dict[str, int]:
        """Returns the known words within their bound, each with its edits, 1 or more."""
        found: dict[str, int] = {}
        if not 3 <= len(word) <= self._longest:
            return found
        edits = 1 if len(word) < 6 else 2  # no word of eight letters is within two of a shorter
        # Most words share nothing: that is settled without a line of Python for each form.
        if self._forms.keys().isdisjoint(shortened(word, edits)):
            return found
        for form in dict.fromkeys(shortened(word, edits)):
            for known in self._forms.get(form, ()):
                if known not in found and abs(len(known) - len(word)) <= bound(known):
                    found[known] = OSA.distance(word, known)
        return {known: edits for known, edits in found.items() if 0 < edits <= bound(known)}


def shortened(word: str, edits: int) -> Iterator[_Form]:
    """Yields what is left of a word's first letters without up to so many of them."""
    start = word[:_PREFIX]
    return chain.from_iterable(
        combinations(start, len(start) - taken) for taken in range(edits + 1)
    )
