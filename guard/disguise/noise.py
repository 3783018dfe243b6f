"""Strings of signs before or after a question: they blur what it is about, and mean nothing."""

import re
from collections.abc import Iterator, Sequence

from guard.disguise.reading import Edit
from guard.disguise.words import Token

_LEAST = 5  # tokens of noise: fewer are a formula, a smiley, a line of code
_SHARE = 0.75  # of a run; between them may be what is a word by chance
_SIGN = re.compile(r"[^\w\s'’.,:;?!()-]")
_INNER_CAPITAL = re.compile(r"[a-z][A-Z]|[A-Z][A-Z][a-z]|\d[A-Za-z]|[A-Za-z]\d")


def find(text: str, words: Sequence[Token]) -> Iterator[Edit]:
    """Finds runs of noise; what is read instead of one is nothing."""
    noisy = [word.strange or _is_noise(text[word.start : word.end]) for word in words]
    first = 0
    while first < len(words):
        if not noisy[first]:
            first += 1
            continue
        last, count, end = first, 0, first
        while last < len(words):
            count += noisy[last]
            if noisy[last]:
                end = last + 1
            elif count < _SHARE * (last + 1 - first):
                break
            last += 1
        # A name at its edge belongs to the question beside it.
        low, high = first, end
        while low < high and _is_word(words[low].core):
            low += 1
        while low < high and _is_word(words[high - 1].core):
            high -= 1
        if sum(noisy[low:high]) >= _LEAST:
            yield Edit("noise", words[low].start, words[high - 1].end, " ")
        first = end


def _is_word(core: str) -> bool:
    """Whether a token could be a word that nobody has listed."""
    return core.isalpha() and (core.islower() or core.istitle())


def _is_noise(raw: str) -> bool:
    return bool(_SIGN.search(raw) or _INNER_CAPITAL.search(raw))
