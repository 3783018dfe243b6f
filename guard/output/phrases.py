"""Many phrases looked up in a growing text, and how much of it may still become one.

The phrases stand in a trie without the spaces between their words, so "Ba sil Mahfouz" and
"BASILMAHFOUZ" are found where "Basil Mahfouz" is looked for. A match begins and ends with words.
"""

from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar

import ahocorasick

from guard.output.words import Word, split

T = TypeVar("T")

_SPACED = 6  # letters of a phrase that counts however it is spaced: "as Ian" is not "Asian"


class Phrases(Generic[T]):
    """A trie of phrases.

    Args:
        phrases: Each phrase with its payload; a phrase may come again with another.
    """

    def __init__(self, phrases: Iterable[tuple[str, T]]) -> None:
        found: dict[str, list[tuple[str, T]]] = {}
        for phrase, payload in phrases:
            spaced = " ".join(word.text for word in split(phrase))
            if spaced:
                found.setdefault(spaced.replace(" ", ""), []).append((spaced, payload))
        self._trie = ahocorasick.Automaton()
        for key, entries in found.items():
            self._trie.add_word(key, entries)

    def begins(self, key: str) -> bool:
        """Whether a phrase begins so, or is so."""
        return bool(self._trie.match(key))

    def get(self, key: str, spaced: str) -> list[T]:
        """Returns the payloads of the phrases that are written so.

        Args:
            key: Without spaces.
            spaced: With a space between its words.
        """
        entries: list[tuple[str, T]] = self._trie.get(key, [])
        return [payload for form, payload in entries if form == spaced or len(key) >= _SPACED]

    def find(self, text: str) -> list["Match[T]"]:
        """Finds every phrase of a whole text."""
        walk = Walk(self)
        return [match for word in split(text) for match in walk.step(word)]


class Match(NamedTuple, Generic[T]):
    """A phrase in the text: its first character, its last plus one, and its payload."""

    start: int
    end: int
    payload: T


class _Begun(NamedTuple):
    """A phrase that has begun: what was said of it, without and with spaces, and where."""

    key: str
    spaced: str
    start: int


class Walk(Generic[T]):
    """The phrases that have begun in one text."""

    def __init__(self, phrases: Phrases[T]) -> None:
        self._phrases = phrases
        self._begun: list[_Begun] = []

    def step(self, word: Word) -> list[Match[T]]:
        """Reads the next word; returns the phrases that end with it."""
        found: list[Match[T]] = []
        begun: list[_Begun] = []
        for state in self._with(word):
            if self._phrases.begins(state.key):
                begun.append(state)
                payloads = self._phrases.get(state.key, state.spaced)
                found += [Match(state.start, word.end, payload) for payload in payloads]
        self._begun = begun
        return found

    def held(self, word: Word | None) -> int | None:
        """Where the first phrase begins that may still come; None where there is none.

        Args:
            word: The word that is being written.
        """
        states = self._begun if word is None else self._with(word)
        return min((s.start for s in states if self._phrases.begins(s.key)), default=None)

    def _with(self, word: Word) -> list[_Begun]:
        states = [
            _Begun(key + word.text, f"{spaced} {word.text}", start)
            for key, spaced, start in self._begun
        ]
        return [*states, _Begun(word.text, word.text, word.start)]
