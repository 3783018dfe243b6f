"""Letters exchanged or turned round: rot13 and the other Caesar ciphers, Atbash, reversal."""

import re
from collections.abc import Iterator, Sequence

import numpy as np

from guard.disguise.likeness import ATBASH, CIPHERS, REVERSED, SHIFTS, cipher_scores
from guard.disguise.reading import Edit
from guard.disguise.words import Token, known_words

_LETTERS = 60  # of a window: a cipher may start and stop within a run of strange words
_SHORT = 4  # letters of a known word that may be a ciphered one: in rot13, "be" is "or"
_LEAST = 5  # letters that can say anything
_MARGIN = 0.2  # nats a letter: a language that the model does not know is a little like any cipher
_LIKE = -3.2  # nats a letter: what is deciphered reads like words or names

# Nats by which a cipher must beat the plain text. rot13 and reversal are what people use.
_NEEDED = np.full(CIPHERS, 14.0, np.float32)
_NEEDED[REVERSED:] = 20.0
_NEEDED[ATBASH] = 10.0
_NEEDED[13] = 7.0
_NEEDED[REVERSED] = 6.0
_BACKWARDS = re.compile(r"[a-z]{2}[A-Z](?![A-Za-z])")  # "mailliW": a capital at the end
_CAPITAL = 6.0  # nats that one such capital is worth

_LOWER = "abcdefghijklmnopqrstuvwxyz"
# Words in an order that is hardly ever theirs: "the of", or a "Who" that does not open.
_ARTICLES = frozenset(("the", "The", "a", "an"))
_PREPOSITIONS = frozenset(("of", "in", "at", "by", "from", "is", "was", "did", "are", "were"))
_OPENERS = frozenset(
    (
        "What",
        "Who",
        "Whom",
        "When",
        "Where",
        "Why",
        "Which",
        "How",
        "Whose",
        "Tell",
        "Describe",
        "Explain",
        "List",
        "Name",
        "Did",
    )
)
_ORDER = re.compile(
    rf"\b(?:{'|'.join(_ARTICLES)}) (?:{'|'.join(_PREPOSITIONS)})\b"
    rf"|(?<=[a-z] )(?:{'|'.join(_OPENERS)})\b"
)
_STOP = re.compile(r"[.!:]\s+(?=[^a-z])|\n+")
_SENTENCE = 300  # characters of one that is read backwards


def _plain(row: int) -> dict[int, int]:
    """What deciphers a row of the table, for `str.translate`."""
    shift = row % REVERSED
    to = _LOWER[::-1] if shift == ATBASH else _LOWER[-shift:] + _LOWER[:-shift]
    return str.maketrans(_LOWER + _LOWER.upper(), to + to.upper())


_TABLES = [_plain(row) for row in range(REVERSED)]


def _name(row: int) -> str:
    cipher = row % REVERSED
    name = "atbash" if cipher == ATBASH else "rot13" if cipher == SHIFTS // 2 else f"rot{cipher}"
    return name if row < REVERSED else "reversed" if not cipher else f"reversed {name}"


def find(text: str, words: Sequence[Token]) -> Iterator[Edit]:
    """Finds runs of strange words that a cipher turns into likely ones."""
    windows = [run for run in _windows(words) if words[run[1]].end - words[run[0]].start >= _LEAST]
    if windows:
        spans = [(words[first].start, words[last].end) for first, last in windows]
        scores, letters = cipher_scores([text[start:end] for start, end in spans])
        needed = np.maximum(_NEEDED[:, None], _MARGIN * letters)
        gains = scores - scores[0] - needed
        for number, (start, end) in enumerate(spans):
            capitals = len(_BACKWARDS.findall(text, start, end))
            gains[REVERSED:, number] += capitals * _CAPITAL
        gains[0] = -np.inf
        gains[(scores < _LIKE * letters) | (letters < _LEAST)] = -np.inf
        best = gains.argmax(0)
        taken: list[tuple[int, int, int]] = []  # (cipher, first token, last token)
        for number in np.flatnonzero(gains.max(0) >= 0):
            row, (first, last) = int(best[number]), windows[number]
            if taken and taken[-1][0] == row and first <= taken[-1][2] + 1:
                taken[-1] = row, taken[-1][1], last
            else:
                taken.append((row, *_widened(words, first, last, row)))
        for row, first, last in taken:
            yield from _edits(text, words[first].start, words[last].end, row)
    if _out_of_order(words):
        yield from _reordered(text)


def _windows(words: Sequence[Token]) -> Iterator[tuple[int, int]]:
    """Runs of strange tokens, with what short words stand among them: (first, last) token."""
    first = last = -1
    letters = gap = 0
    for number, word in enumerate(words):
        if word.strange:
            if first < 0:
                first, letters = number, 0
            last, gap = number, 0
            letters += len(word.core)
        elif first >= 0:
            gap += 1
            letters += len(word.core)
        if first >= 0 and (letters >= _LETTERS or gap > 2 or (gap and len(word.core) > _SHORT)):
            yield first, last
            first = -1
    if first >= 0:
        yield first, last


def _widened(words: Sequence[Token], first: int, last: int, row: int) -> tuple[int, int]:
    """Takes in short words on both sides that are known words once deciphered."""
    known = known_words()

    def deciphered(word: Token) -> bool:
        core = word.core.lower().translate(_TABLES[row % REVERSED])
        return len(core) <= _SHORT and (core if row < REVERSED else core[::-1]) in known

    low, high = max(first - 3, 0), min(last + 3, len(words) - 1)
    while first > low and deciphered(words[first - 1]):
        first -= 1
    while last < high and deciphered(words[last + 1]):
        last += 1
    return first, last


def _edits(text: str, start: int, end: int, row: int) -> Iterator[Edit]:
    said = text[start:end].translate(_TABLES[row % REVERSED])
    if row < REVERSED:
        yield Edit(_name(row), start, end, said)
        return
    yield Edit(_name(row), start, end, said[::-1])
    words = said.split()
    if len(words) > 1:  # letters say that it is backwards, but not whether the words are too
        yield Edit(f"{_name(row)} words", start, end, " ".join(word[::-1] for word in words))


def _out_of_order(words: Sequence[Token]) -> bool:
    cores = [word.core for word in words]
    if len(cores) > 3 and not _OPENERS.isdisjoint(cores[1:]):
        return True
    return any(
        [
            core in _PREPOSITIONS and cores[number] in _ARTICLES
            for number, core in enumerate(cores[1:])
        ]
    )


def _reordered(text: str) -> Iterator[Edit]:
    """Finds sentences whose words stand in reverse order."""
    done = 0
    for cue in _ORDER.finditer(text):
        if cue.start() < done:
            continue
        low = max(cue.start() - _SENTENCE, done)
        start = max((stop.end() for stop in _STOP.finditer(text, low, cue.start())), default=low)
        done = cue.end()
        if cue.group() not in _OPENERS:  # an opener is the end itself
            stop = _STOP.search(text, done, done + _SENTENCE)
            done = stop.start() if stop else min(done + _SENTENCE, len(text))
        if text.count(" ", start, done) > 2:
            yield Edit("reversed order", start, done, " ".join(reversed(text[start:done].split())))
