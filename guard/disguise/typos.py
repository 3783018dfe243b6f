"""Text in which word after word is misspelt: the words that they are nearly.

Names are found misspelt by `guard.near`; this is for all that a question says besides. Candidates
are looked up by what is left of a word without some of its letters (see `guard.misspelling`).
"""

from collections.abc import Iterator, Sequence
from functools import cache, lru_cache

import numpy as np
import numpy.typing as npt
from rapidfuzz.distance import OSA

from guard.disguise.reading import Edit
from guard.disguise.words import Token, frequencies
from guard.misspelling import bound, shortened

_LEAST = 3  # misspelt words ...
_SHARE = 0.3  # ... and their share of all that could be: fewer are terms of some trade
_SHORTEST = 4  # letters of a word that is corrected
_MOST = 1000  # words at either end of a text that are corrected, so that a megabyte is no burden


def find(text: str, words: Sequence[Token]) -> Iterator[Edit]:
    """Finds misspelt words where there are many; names that are no words stay as they are."""
    could = [word for word in words if len(word.core) >= _SHORTEST]
    strange = [word for word in could if word.strange and _stem(word.core).isalpha()]
    small = sum(word.core.islower() for word in strange)  # the others may be names
    if small < max(_LEAST, _SHARE * sum(word.core.islower() for word in could)):
        return
    if len(strange) > 2 * _MOST:
        strange = strange[:_MOST] + strange[-_MOST:]
    for word in strange:
        stem = _stem(word.core)
        meant = nearest(stem.lower())
        if meant is not None:
            start = text.index(stem, word.start)
            said = meant.capitalize() if stem[0].isupper() else meant
            yield Edit("typos", start, start + len(stem), said)


@lru_cache(maxsize=10_000)
def nearest(word: str) -> str | None:
    """Returns the commonest English word among those nearest to a lower-case word, if any is near.

    Near is what `guard.misspelling.bound` allows: one edit, two from eight letters on.
    """
    if len(word) < _SHORTEST - 1:
        return None
    known, hashes, owners = _index()
    edits = 1 if len(word) < 6 else 2
    forms = np.fromiter({hash(form) for form in shortened(word, edits)}, np.int64)
    starts, ends = hashes.searchsorted(forms), hashes.searchsorted(forms, "right")
    found = {int(n) for a, b in zip(starts, ends, strict=True) for n in owners[a:b]}
    best: tuple[int, int] | None = None
    for number in found:  # the commonest have the lowest numbers
        near = known[number]
        if abs(len(near) - len(word)) > bound(near):
            continue
        distance = OSA.distance(word, near)
        if distance <= bound(near) and (best is None or (distance, number) < best):
            best = distance, number
    return known[best[1]] if best else None


def _stem(core: str) -> str:
    for ending in ("'s", "’s"):
        core = core.removesuffix(ending)
    return core


@cache
def _index() -> tuple[list[str], npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """English words, the commonest first; their shortened forms' hashes, sorted; whose each is."""
    known = [
        word
        for word in frequencies("en")
        if len(word) >= _SHORTEST and word.isascii() and word.isalpha()
    ]
    hashes: list[int] = []
    owners: list[int] = []
    for number, word in enumerate(known):
        forms = {hash(form) for form in shortened(word, bound(word))}
        hashes += forms
        owners += [number] * len(forms)
    order = np.argsort(np.array(hashes, np.int64), kind="stable")
    return known, np.array(hashes, np.int64)[order], np.array(owners, np.int32)[order]
