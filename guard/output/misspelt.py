"""Names that are nearly written: a letter off, or with an ending behind them.

A model that may not write a name writes the next best thing: "Shakespear", "Newtonian", "Issac
Newton". A word within few edits of a word of a name (`guard.misspelling`), or that goes on from a
word of any fact by an ending, is read as that word.
"""

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from guard.frequency import zipf
from guard.misspelling import Misspellings, bound
from guard.output.phrases import Match, Phrases, Walk
from guard.output.words import Word

T = TypeVar("T")

# On Zipf's scale: what is commoner is a word of its own ("chariot", 3.3; "bakery", 3.7).
_RARE, _DERIVED = 2.5, 3.5
_STEM = 5  # letters of a word that an ending may follow
_ENDING = 4  # letters of an ending: "an", "ian", "esque" goes too far


class Nearly(Generic[T]):
    """Names and what is nearly their spelling.

    Args:
        names: Each name, folded, with its payload.
        others: Other facts, likewise: only an ending may follow their words.
    """

    def __init__(
        self, names: Iterable[tuple[str, T]], others: Iterable[tuple[str, T]] = ()
    ) -> None:
        forms, more = list(names), list(others)
        spelt = {word for form, _ in forms for word in form.split() if bound(word)}
        self._near = Misspellings(spelt)
        self._words = spelt | {word for form, _ in more for word in form.split() if bound(word)}
        self.phrases = Phrases(
            (form, (len(form.split()) == 1, payload)) for form, payload in (*forms, *more)
        )
        self._starts = {word[0] for word in self._words}

    def word(self, text: str) -> tuple[str, float]:
        """Returns the word of a name that a word stands for, or the word itself.

        Returns:
            The word; and how common the word as written may be, on Zipf's scale, to stand for a
            name by itself.
        """
        if text in self._words:
            return text, float("inf")
        for end in range(len(text) - 1, max(_STEM, len(text) - _ENDING) - 1, -1):
            if text[:end] in self._words:
                return text[:end], _DERIVED
        near = {word: edits for word, edits in self._near.near(text).items() if word[0] == text[0]}
        if near:
            return min(near, key=lambda word: (near[word], word)), _RARE
        return text, float("inf")

    def may_begin(self, text: str) -> bool:
        """Whether an unfinished word may become one: who misspells a name begins it rightly."""
        return text[0] in self._starts


class NearlyWalk(Generic[T]):
    """The names that have nearly begun in one text.

    Args:
        nearly: The names.
    """

    def __init__(self, nearly: Nearly[T]) -> None:
        self._nearly = nearly
        self._walk = Walk(nearly.phrases)

    def step(self, word: Word) -> Iterator[Match[T]]:
        """Reads the next word; yields the names that end with it, as they are or nearly."""
        stands, most = self._nearly.word(word.text)
        common = stands != word.text and zipf(word.text) >= most
        for match in self._walk.step(word._replace(text=stands)):
            single, payload = match.payload
            if not (single and common):
                yield Match(match.start, match.end, payload)

    def held(self, word: Word | None) -> int | None:
        """Where the first name begins that may still come; None where there is none."""
        if word is None:
            return self._walk.held(None)
        begun = self._walk.held(None)  # a name goes on with whatever the word becomes
        if begun is None and self._nearly.may_begin(word.text):
            return word.start
        return begun
