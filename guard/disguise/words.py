"""Words that people use: which are known, and where they are in text without spaces.

Frequencies are wordfreq's (Speer, 2022, doi:10.5281/zenodo.7199437).
"""

import codecs
import math
import re
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

LANGUAGES = ("en", "fr", "de", "es", "it", "pt", "nl", "id", "tr", "pl")
_COMMON = 12_000  # words of a language other than English: enough that its sentences look ordinary
_LONGEST = 18  # letters of a word that text without spaces is searched for
_NAME, _LETTER = 10.0, 3.2  # nats that a word costs which is not listed, and each of its letters
_COVERED = 0.5  # share of letters in listed words: the rest may be names
_CAPITALS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_SEGMENTED = 4000  # letters; a longer run is a book or an attack, and is left as it is

_TOKEN = re.compile(r"\S{1,80}")
_AROUND = ".,;:?!\"'()[]{}<>*_`~«»“”‘’…-–—/\\|#=$@+"
_DIGIT = re.compile("[0-9]")
_INNER = re.compile(r"[^A-Za-z]+")


@cache
def frequencies(language: str) -> Mapping[str, float]:
    """Word to its share of all words, in lower case; what is rarer than one in a million is out."""
    from wordfreq import get_frequency_list

    lists = enumerate(get_frequency_list(language, "small"))
    return {word: 10 ** (-number / 100) for number, words in lists for word in words}


@cache
def known_words() -> frozenset[str]:
    """Words that a text may hold without looking strange.

    A word that is a much commoner one written backwards or in rot13 ("gur") is not among them.
    """
    english = frequencies("en")
    words = {word: share for word, share in english.items() if word.replace("'", "").isalpha()}
    for language in LANGUAGES[1:]:
        listed = frequencies(language).items()  # commonest first
        words |= {
            word: max(share, words.get(word, 0.0))
            for (word, share), _ in zip(listed, range(_COMMON), strict=False)
        }
    return frozenset(
        word
        for word, share in words.items()
        if 3 * share > max(english.get(word[::-1], 0), english.get(codecs.encode(word, "rot13"), 0))
    )


class Token(NamedTuple):
    """A stretch between spaces.

    Attributes:
        start: Where it starts in the text, in characters.
        end: Where it ends.
        core: Its text without the punctuation around it.
        strange: Whether it is Latin writing, and no known word.
    """

    start: int
    end: int
    core: str
    strange: bool


def tokens(text: str) -> list[Token]:
    """Splits a text at its spaces (and a stretch without any every 80 characters)."""
    known = known_words()
    found: list[Token] = []
    for match in _TOKEN.finditer(text):
        core = match.group()
        strange = False
        if core not in known:
            core = core.strip(_AROUND)
            strange = len(core) > 2 and core.isascii() and not is_known(core)
        found.append(Token(*match.span(), core, strange))
    return found


def is_known(core: str) -> bool:
    """Whether a word is known, or made of known words ("well-known", "Shakespeare's")."""
    known = known_words()
    low = core.lower()
    if low in known:
        return core[1:] == low[1:] or core.isupper()  # not "ilMa"
    pieces = [piece for piece in _INNER.split(low) if piece]
    # "7h3" and "Will-iam" are made of pieces too, but not of words.
    if not pieces:
        return True
    if _DIGIT.search(core) or not all(map(known.__contains__, pieces)):
        return False
    # "Will-iam" is a word torn apart, and commoner than its half.
    shares = frequencies("en")
    whole = shares.get("".join(pieces), 0.0)
    return len(pieces) == 1 or whole <= min(shares.get(piece, 1.0) for piece in pieces)


def segment(letters: str) -> str | None:
    """Puts spaces into a run of letters: the likeliest words (Norvig, 2009, Beautiful Data).

    Returns:
        The words, in the run's own case; None where they do not read like words.
    """
    if not 5 <= len(letters) <= _SEGMENTED:
        return None
    shares = frequencies("en")
    words: list[str] = []
    for piece in _CAPITALS.findall(letters):  # a capital starts a word anyway
        words += _split(piece) if len(piece) > 4 else [piece]
    covered = (w for w in words if len(w) > 1 and (w.lower() in shares or w.istitle()))
    return " ".join(words) if sum(map(len, covered)) >= _COVERED * len(letters) else None


def _split(letters: str) -> list[str]:
    """The likeliest words, or the run itself where that is one word more likely than not."""
    shares, low = frequencies("en"), letters.lower()
    best: list[tuple[float, int]] = [(0.0, 0)]  # cost up to here, where the last word starts
    for end in range(1, len(low) + 1):
        options: list[tuple[float, int]] = []
        for start in range(max(0, end - _LONGEST), end):
            share = shares.get(low[start:end])
            if share is not None:
                options.append((best[start][0] - math.log(share), start))
            elif end - start > 2:
                options.append((best[start][0] + _NAME + _LETTER * (end - start), start))
        best.append(min(options, default=(best[end - 1][0] + 2 * _NAME, end - 1)))
    words: list[str] = []
    end = len(low)
    while end:
        start = best[end][1]
        words.append(letters[start:end])
        end = start
    listed = sum(len(word) for word in words if len(word) > 1 and word.lower() in shares)
    return words[::-1] if listed >= _COVERED * len(low) and len(words) * 2 < len(low) else [letters]
