"""Phrases found where they are misspelt, or written in another script.

Each word of a text stands for the known words that it may be; phrases are then read off in a trie
of words. What is written exactly is `guard.matching`'s: it is not found again here.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from guard.misspelling import Misspellings
from guard.normalize import Folded, letters
from guard.transliterate import FOREIGN_WORD, Sounds, foreign_words

T = TypeVar("T")

_EDITS = 2  # in a whole phrase; more where it is long:
_LETTERS = 5  # that bear one edit
_ALONE = 5  # letters of a word that counts misspelt without another beside it
_CONSONANTS = 5  # that a phrase must be heard by: "Isaac" gives two, "Newton" three
_LONGEST = 12  # words of a phrase
_REMEMBERED = 50_000  # words


class _May(NamedTuple):
    """How a word of the text may be a known word: as written, misspelt or heard."""

    edits: int = 0
    heard: bool = False
    weight: int = 0  # consonants that they agree in
    close: bool = True  # and vowels too
    sure: bool = True  # enough to count alone


_Options: TypeAlias = dict[str, _May]


class _Place(NamedTuple):
    start: int
    end: int
    options: _Options


@dataclass
class _Node(Generic[T]):
    next: dict[str, "_Node[T]"] = field(default_factory=dict)
    found: tuple[int, T] | None = None  # letters and payload of the phrase that ends here


class NearMatcher(Generic[T]):
    """Finds folded phrases by what is nearly their spelling, or by their sound.

    Args:
        phrases: Folded phrase to its payload; those in other letters than a to z are left out.
        ordinary: Words that, however near they come to a phrase's word, are what they are: alone,
            and where the value is true, beside the phrase's other words too.
    """

    def __init__(self, phrases: Mapping[str, T], ordinary: Mapping[str, bool]) -> None:
        self._root: _Node[T] = _Node()
        self._words: set[str] = set()
        for phrase, payload in phrases.items():
            if phrase and phrase.isascii():
                node = self._root
                for word in phrase.split():
                    self._words.add(word)
                    node = node.next.setdefault(word, _Node())
                node.found = letters(phrase), payload
        self._ordinary = dict(ordinary)
        self._spelt = Misspellings(self._words)
        self._sounds = {rhotic: Sounds(self._words, rhotic) for rhotic in (True, False)}
        self._strange: set[int] = (
            set()
        )  # hashes of words near none: most words are, again and again

    def find(self, folded: Folded) -> Iterator[tuple[int, int, T, float]]:
        """Yields matches: start and end in the original, payload, share of letters right (< 1)."""
        words = folded.text.split()
        near: dict[str, _Options] = {}
        for word in set(words):
            if word.isascii() and hash(word) not in self._strange:
                found = self._misspelt(word)
                if not self._is_strange(word, [found]):
                    near[word] = found
        foreign = [] if folded.source.isascii() else list(self._foreign(folded.source))
        if not near and not foreign:
            return
        places = [*self._written(folded, words, near), *foreign]
        if foreign:
            places.sort(key=lambda place: place.start)
        for first in range(len(places)):
            yield from self._read(places, first)

    def _misspelt(self, word: str) -> _Options:
        common = self._ordinary.get(word)
        if not common:
            near = self._spelt.near(word)
            return {
                known: _May(edits, sure=common is None and len(known) >= _ALONE)
                for known, edits in near.items()
            }
        # "Newtons" may be a common word, and in "Isaac Newtons" it is a genitive.
        stem = word.removesuffix("s")
        return {stem: _May(1, sure=False)} if stem != word and stem in self._words else {}

    def _is_strange(self, word: str, options: Collection[_Options]) -> bool:
        """Notes a word that may be no known word."""
        strange = not any(options)
        if strange and len(self._strange) < _REMEMBERED:
            self._strange.add(hash(word))
        return strange

    def _written(
        self, folded: Folded, words: list[str], near: Mapping[str, _Options]
    ) -> Iterator[_Place]:
        at = 0
        for word in words:
            if word.isascii():  # the others are heard, or nothing
                options = {word: _May(weight=len(word))} if word in self._words else {}
                yield _Place(*folded.span(at, at + len(word)), options | near.get(word, {}))
            at += len(word) + 1

    def _foreign(self, text: str) -> Iterator[_Place]:
        known: dict[str, list[_Place]] = {}
        for match in FOREIGN_WORD.finditer(text):
            word, at = match.group(), match.start()
            if hash(word) in self._strange:
                yield _Place(at, match.end(), {})
                continue
            if word not in known:
                known[word] = [
                    _Place(start, end, self._sounding(readings, self._sounds[rhotic]))
                    for start, end, readings, rhotic in foreign_words(match)
                ]
                self._is_strange(word, [place.options for place in known[word]])
            for start, end, options in known[word]:
                yield _Place(at + start, at + end, options)

    @staticmethod
    def _sounding(readings: Iterable[str], sounds: Sounds) -> _Options:
        options: _Options = {}
        for heard in (heard for reading in readings for heard in sounds.near(reading)):
            if heard.word not in options or heard.sure:
                options[heard.word] = _May(0, True, *heard[1:])
        return options

    def _read(self, places: list[_Place], first: int) -> Iterator[tuple[int, int, T, float]]:
        """Yields the phrases that begin at one place."""
        states: list[tuple[_Node[T], tuple[_May, ...]]] = [(self._root, ())]
        for place in places[first : first + _LONGEST]:
            options = place.options
            states = [
                (node.next[word], (*path, options[word]))
                for node, path in states
                for word in (list(node.next) if len(node.next) < len(options) else list(options))
                if word in node.next and word in options
            ]
            if not states:
                return
            for node, path in states:
                if node.found and _tells(path):
                    size, payload = node.found
                    if sum(step.edits for step in path) > max(_EDITS, size // _LETTERS):
                        continue
                    lost = sum(step.edits + step.heard for step in path)
                    yield places[first].start, place.end, payload, 1 - min(lost / size, 0.5)


def _tells(path: tuple[_May, ...]) -> bool:
    """Whether a reading is no mere chance."""
    if len(path) == 1:
        return path[0].sure and (path[0].heard or path[0].edits > 0)
    if any(step.heard for step in path):
        weight = sum(step.weight for step in path)
        if all(step.close for step in path):
            return weight >= _CONSONANTS - 1
        return weight >= _CONSONANTS + (0 if any(step.close for step in path) else 2)
    return any(step.edits for step in path)
