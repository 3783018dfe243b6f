"""Copies of forget passages, found before twelve words of one have left.

Runs of three words are looked up as hashes; those that follow one another along a passage make a
chain, over small edits too (`guard.output.alignment`). A chain that covers `VerbatimOptions.words`
words is a hit. Every word of a chain is held until the chain breaks off, and so are the last two
words of the answer, with which one may begin: what a hit takes back has never left, and no more
than ``words`` - 1 words of a passage can leave one after the other.

What a row that must be kept says as well is nobody's secret: it is taken out at compile time.
"""

import bisect
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from guard.data import Row
from guard.forbidden import answer_of
from guard.options import Strict
from guard.output.alignment import Alignment, Chain
from guard.output.base import Asked, Check, Hit, Known, Material, Reader, Reading
from guard.output.fingerprints import APART, RUN, Index, arrays_of, fingerprint, rolled, word_hash
from guard.output.words import Word, Words, split
from guard.parts import Parts

_BANNED = 4  # words that the rest of the answer must not begin the passage with again


class VerbatimOptions(Strict):
    """Options of `Verbatim`.

    Attributes:
        words: How many words of a passage are a copy, edits not counted.
    """

    words: int = Field(default=9, ge=5, le=12)


class Verbatim(Check):
    """Finds copies of forget passages and answers."""

    kind: ClassVar[str] = "verbatim"
    Options: ClassVar[type[Strict]] = VerbatimOptions

    def __init__(self, known: Sequence[Known]) -> None:
        super().__init__(known)
        hashes, places, self._ends = [np.zeros(0, np.uint64)], [np.zeros(0, np.uint32)], []
        offset = 0
        for one in known:
            hashes.append(one.parts.arrays["hashes"])
            places.append(one.parts.arrays["places"] + np.uint32(offset))
            offset += int(one.parts.data["size"])
            self._ends.append(offset)
        self.index = Index(np.concatenate(hashes), np.concatenate(places))

    @classmethod
    def fit(cls, material: Material, options: Any) -> Parts:
        """Takes the fingerprints of what the target's rows answer, or are."""
        passages = [answer_of(row) for row in material.examples.forget]
        hashes, places = fingerprint(passages)
        data = {"size": int(places.max(initial=0)) + APART}
        parts = Parts(data, arrays_of(hashes, places))
        kept = (*material.examples.retain, *material.examples.background)
        while len(said := cls([Known("", options, parts)])._said(kept)):
            left = ~np.isin(parts.arrays["places"], said)
            arrays = {name: array[left] for name, array in parts.arrays.items()}
            parts = Parts(data, arrays)
        return parts

    def start(self, asked: Asked) -> Reader:
        """Begins to read an answer."""
        return _VerbatimReader(self, asked)

    def owner(self, chain: Chain) -> Known:
        """The target whose passage a chain runs along."""
        return self.known[bisect.bisect_right(self._ends, chain.place)]

    def is_copy(self, chain: Chain) -> bool:
        """Whether a chain covers so much that it must not leave."""
        return chain.covered >= int(self.owner(chain).options.words)

    def _said(self, rows: Sequence[Row]) -> list[int]:
        """The places of the passages that rows to be kept say word for word."""
        return [
            place
            for row in rows
            for text in (row.prompt, row.answer)
            for chain in self.copies(text)
            for place in range(chain.place - chain.covered + 1, chain.place + 1)
        ]

    def copies(self, text: str) -> Iterator[Chain]:
        """Yields what a whole text copies, as it grows."""
        alignment, runs = Alignment(), _Runs()
        for number, word in enumerate(split(text)):
            chain = alignment.step(number, self.index.find(runs.add(word)))
            if chain and self.is_copy(chain):
                yield chain


class _Runs:
    """The hashes of a text's runs of words."""

    def __init__(self) -> None:
        self._last: list[int] = []

    def add(self, word: Word) -> int:
        """Returns the hash of the run that ends with a word; of a shorter one at the beginning."""
        self._last = [*self._last[-(RUN - 1) :], word_hash(word.text)]
        value = 0
        for each in self._last:
            value = rolled(value, each)
        return value


class _VerbatimReader(Reader):
    def __init__(self, check: Verbatim, asked: Asked) -> None:
        self._check = check
        self._asked = asked
        self._words = Words()
        self._runs = _Runs()
        self._alignment = Alignment()
        self._spans: list[tuple[int, int]] = []  # of the words so far
        self._safe = 0
        self._hit: Hit | None = None

    def read(self, text: str, *, done: bool) -> Reading:
        words, last = self._words.read(text, done=done)
        for word in words if self._hit is None else ():
            number = len(self._spans)
            self._spans.append((word.start, word.end))
            places = self._check.index.find(self._runs.add(word))
            if places and self._asked.given:
                places = [place for place in places if place not in self._free]
            chain = self._alignment.step(number, places)
            if chain and self._check.is_copy(chain):
                self._hit = self._found(text, chain, number)
                break
        if self._hit is None:
            self._safe = len(text) if done else self._held(text, last)
        return Reading(self._safe, self._hit)

    def _held(self, text: str, last: Word | None) -> int:
        """Where the first chain begins that may come or go on."""
        ends = max(len(self._spans) - (RUN - 1), 0)
        first = self._alignment.first
        first = ends if first is None else min(first, ends)
        if first < len(self._spans):
            return max(self._safe, self._spans[first][0])
        return max(self._safe, last.start if last else len(text))

    def _found(self, text: str, chain: Chain, number: int) -> Hit:
        spans = self._spans[chain.start : number + 1]
        phrases = tuple(
            text[start:end]
            for (start, _), (_, end) in zip(spans, spans[_BANNED - 1 :], strict=False)
        )
        target = self._check.owner(chain).target
        return Hit(self._check.kind, target, spans[0][0], spans[-1][1], phrases)

    @cached_property
    def _free(self) -> frozenset[int]:
        """What of the passages the prompt itself brings, and may."""
        return frozenset(
            place
            for chain in self._check.copies(self._asked.prompt)
            if self._check.owner(chain).target in self._asked.given
            for place in range(chain.place - chain.covered, chain.place + 1)
        )
