"""Passages cut in two, for a model to go on with: what copying is measured on."""

import re
from collections.abc import Iterator, Sequence

from adapters.data.chunks import Chunks
from benchmarks.leakage.case import Case

PREFIX = 50  # words that are given
NEXT = 50  # words that are to follow
_LONGEST = 128  # tokens, which so many words are with any tokenizer

_WORD = re.compile(r"\S+")


def sections(text: str, words: int) -> list[str]:
    """Returns a text in sections of so many words, the last of which may be shorter."""
    found = [match.span() for match in _WORD.finditer(text)]
    return [
        text[found[at][0] : found[min(at + words, len(found)) - 1][1]]
        for at in range(0, len(found), words)
    ]


def cut(text: str, group: str, prefix: int = PREFIX, following: int = NEXT) -> Case | None:
    """Returns the beginning of a text as what is asked, and what follows as what was learned.

    Returns:
        None where the text is too short for both.
    """
    found = [match.span() for match in _WORD.finditer(text)]
    if len(found) < prefix + following:
        return None
    middle, end = found[prefix - 1][1], found[prefix + following - 1][1]
    learned = text[middle:end].lstrip()
    return Case(text[found[0][0] : middle], learned, group, passage=True, tokens=_LONGEST)


def spread(texts: Sequence[str], group: str, count: int) -> Iterator[Case]:
    """Yields passages from places that are evenly spread over some texts."""
    long = [case for text in texts if (case := cut(text, group)) is not None]
    for number in range(min(count, len(long))):
        yield long[number * len(long) // min(count, len(long))]


def pieces(text: str) -> tuple[tuple[str, str], ...]:
    """Returns a text as a guard is given it: pieces between sentences, without a question."""
    return tuple(("", piece) for piece in Chunks(overlap=0).cut(text))
