"""How far a text runs along a passage, word for word or nearly so.

Fingerprints that follow one another in the text and in a passage make a chain. Up to `SKIPPED`
words may be replaced, left out or added between two of them; what a chain covers are the words that
its fingerprints hold.
"""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from guard.output.fingerprints import RUN

SKIPPED = 2  # words between two fingerprints that are not the passage's, or not the text's
_LONGEST = RUN + SKIPPED  # from one fingerprint's last word to the next one's
# From one fingerprint to the next, in the text and in the passage: the very next, or an edit apart.
_STEPS = [(1, 1)] + [
    (RUN + text, RUN + passage)
    for text in range(SKIPPED + 1)
    for passage in range(SKIPPED + 1)
    if text or passage
]


class Chain(NamedTuple):
    """A run along a passage.

    Attributes:
        covered: How many of its words are the passage's.
        start: The number of its first word in the text.
        place: The place of its last word in the passage.
    """

    covered: int
    start: int
    place: int


class Alignment:
    """The chains of one text that may go on."""

    def __init__(self) -> None:
        # Of each of the last words with a fingerprint: its number, and its chains by their place.
        self._open: deque[tuple[int, dict[int, Chain]]] = deque()
        self._first: deque[int] = deque()  # where the first of those chains begins

    def step(self, number: int, places: Sequence[int]) -> Chain | None:
        """Reads the text's next word.

        Args:
            number: The word's number in the text.
            places: Where in the passages the fingerprint stands that ends with it.

        Returns:
            The chain through this word that covers most; None without one.
        """
        if not places:
            self._forget(number)
            return None
        before = dict(self._open)
        steps = [
            (chains, passage, min(RUN, text, passage))
            for text, passage in _STEPS
            if (chains := before.get(number - text))
        ]
        found: dict[int, Chain] = {}
        for place in places:
            best = Chain(RUN, number - RUN + 1, place)
            for chains, passage, new in steps:
                last = chains.get(place - passage)
                if last is not None and last.covered + new > best.covered:
                    best = Chain(last.covered + new, last.start, place)
            found[place] = best
        self._open.append((number, found))
        self._first.append(min(chain.start for chain in found.values()))
        self._forget(number)
        return max(found.values())

    def _forget(self, number: int) -> None:
        """Drops what the word after `number` cannot go on with."""
        while self._open and number + 1 - self._open[0][0] > _LONGEST:
            self._open.popleft()
            self._first.popleft()

    @property
    def first(self) -> int | None:
        """The first word of the chains that may go on; None without any."""
        return min(self._first, default=None)
