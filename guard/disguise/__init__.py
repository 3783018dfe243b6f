"""What a disguised text says: people who know of a guard write so that it cannot read them.

A disguise is undone only where a cheap test calls for it, so an ordinary prompt costs some
microseconds and has no readings. A reading is searched for disguises in its turn (base64 of rot13).
Everything is linear in the length of the text, and so is all that comes out together.
"""

from collections import deque
from collections.abc import Iterator

from guard.disguise import characters, ciphers, encodings, escapes, leet, noise, spacing, typos
from guard.disguise.reading import Edit, Reading, apply
from guard.disguise.words import tokens

__all__ = ["Reading", "readings"]

DEPTH = 3  # disguises in one another
_TIMES = 3  # all that comes out is at most this many times the text's length,
_AND = 16_384  # and this many characters, so that a short text may be nested deeply
_WITHIN = 100_000  # characters of readings that are searched for disguises in their turn


def readings(text: str) -> list[Reading]:
    """Reads what is disguised in a text.

    The first call loads word lists and builds a language model, which takes about a second.

    Args:
        text: Any text; it may hold lone surrogates, control characters and megabytes.

    Returns:
        Readings, the outermost first; none for a text in which nothing is disguised. Their
        lengths sum up to at most three times the text's, and some pages.
    """
    found: list[Reading] = []
    seen = {text}
    queue = deque([(Reading("", text, 0, len(text)), 0)])
    to_read, to_write = len(text) + _WITHIN, _TIMES * len(text) + _AND
    while queue and to_read > 0:
        reading, depth = queue.popleft()
        said = reading.text[:to_read]
        to_read -= len(said)
        for inner in apply(said, _edits(said)):
            if inner.text in seen or len(inner.text) > to_write:
                continue
            seen.add(inner.text)
            to_write -= len(inner.text)
            if depth:  # the place of the outermost disguise is what the original has
                kind = f"{reading.kind}>{inner.kind}"
                inner = Reading(kind, inner.text, reading.start, reading.end)
            found.append(inner)
            if depth + 1 < DEPTH:
                queue.append((inner, depth + 1))
    return found


def _edits(text: str) -> Iterator[Edit]:
    yield from characters.find(text)
    yield from escapes.find(text)
    words = tokens(text)
    strange = any([word.strange for word in words])
    if strange or len([word for word in words if len(word.core) < 3]) > 2:
        yield from spacing.find(text, words)
        yield from leet.find(text, words)
    if strange:
        yield from noise.find(text, words)
        yield from typos.find(text, words)
    yield from encodings.find(text, words if strange else ())
    yield from ciphers.find(text, words)
