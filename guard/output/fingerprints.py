"""Passages as fingerprints: a keyed hash of each run of three words, and where it stands.

No text is kept. A filter, one bit a hash in an array of bits (Bloom, CACM 1970), dismisses most of
a text in a tenth of a microsecond a word; the exact hashes and their places confirm.
"""

import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from guard.output.words import split

RUN = 3  # words of a fingerprint
APART = 64  # places between passages, so that no run goes from one to the next

Hashes = npt.NDArray[np.uint64]
Places = npt.NDArray[np.uint32]

_KEY = b"guard.output.fingerprints"  # no table of other programs' hashes fits
_BASE = 0x9E3779B97F4A7C15  # odd: no word's hash is lost by multiplication
_MASK = (1 << 64) - 1
_BITS_EACH = 16  # of the filter, for each hash: one word in ten is taken for a known one


@lru_cache(maxsize=65_536)
def word_hash(word: str) -> int:
    """Returns a folded word's hash, 64 bits."""
    digest = hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8, key=_KEY).digest()
    return int.from_bytes(digest, "little")


def rolled(before: int, word: int) -> int:
    """Returns the hash of a run with one more word: a polynomial in its words' hashes."""
    return ((before * _BASE) + word + 1) & _MASK


def run_hashes(words: Sequence[int]) -> list[int]:
    """Returns the hash of each run of `RUN` words, by its first word."""
    found = []
    for at in range(len(words) - RUN + 1):
        value = 0
        for word in words[at : at + RUN]:
            value = rolled(value, word)
        found.append(value)
    return found


def fingerprint(passages: Iterable[str]) -> tuple[Hashes, Places]:
    """Returns the hashes of passages, and of each the place of its run's last word."""
    hashes: list[int] = []
    places: list[int] = []
    start = APART
    for passage in passages:
        words = [word_hash(word.text) for word in split(passage)]
        found = run_hashes(words)
        hashes += found
        places += range(start + RUN - 1, start + RUN - 1 + len(found))
        start += len(words) + APART
    return np.array(hashes, np.uint64), np.array(places, np.uint32)


class Index:
    """Looks fingerprints up.

    Args:
        hashes: Of all passages [n].
        places: Of each run's last word [n].
    """

    def __init__(self, hashes: Hashes, places: Places) -> None:
        order = np.lexsort((places, hashes))
        self._hashes = hashes[order]
        self._places = places[order]
        size = max(1 << (len(hashes) * _BITS_EACH - 1).bit_length(), 64) if len(hashes) else 64
        self._mask = size - 1
        bits = np.zeros(size, np.bool_)
        bits[(self._hashes & np.uint64(self._mask)).astype(np.intp)] = True
        self._filter = np.packbits(bits, bitorder="little").tobytes()

    def find(self, value: int) -> list[int]:
        """Returns the places of a hash, in order."""
        bit = value & self._mask
        if not self._filter[bit >> 3] >> (bit & 7) & 1:
            return []
        key = np.uint64(value)
        first, last = (int(self._hashes.searchsorted(key, side)) for side in ("left", "right"))
        places: list[int] = self._places[first:last].tolist()
        return places


def arrays_of(hashes: Hashes, places: Places) -> dict[str, npt.NDArray[Any]]:
    """Returns the arrays that the bundle keeps, in the order of the hashes: that of no text."""
    order = np.argsort(hashes, kind="stable")
    return {"hashes": hashes[order], "places": places[order]}
