"""Letters that only look like Latin ones, and characters that nobody sees.

Styled letters (full-width, mathematical, circled) are undone by Unicode's NFKC, look-alikes of
other scripts by its table of confusables (Unicode Technical Standard 39, section 4), accents heaped
on letters by dropping what NFC cannot compose. Text may also be *hidden* in characters that nobody
sees: tag characters, variation selectors, zero-width bits.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import Literal

from guard.disguise.likeness import likeness
from guard.disguise.reading import Edit
from guard.disguise.words import known_words

_STRETCH = 256  # characters; no word is as long
_LIKE = -3.0  # nats a letter, for a word all of whose letters are of another script
_STYLED_BLOCKS = (
    range(0x80, 0x3400), range(0xA700, 0xAC00), range(0xFB00, 0x10000),
    range(0x1D400, 0x1D800), range(0x1F100, 0x1F200),
)  # fmt: skip
_UNSEEN = [
    0xAD, 0x34F, 0x61C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180E, 0x3164, 0xFFA0, 0xFEFF,
    *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070),
    *range(0xFE00, 0xFE10), *range(0xE0000, 0xE01F0),
]  # fmt: skip
# What looks like a Latin letter to people, if not to Unicode: it maps to other look-alikes there.
_LOOKS = dict(zip("кмтнпягвзιλυχκεωσητςıłøđħŧӏ", "kmthnrrb3iluxkewontcilodhtl", strict=True))
_UPSIDE_DOWN = dict(zip("ɐɔǝɟƃɥᴉɾʞꞁɯɹʇʌʍʎ∀Ɔ", "acefghijklmrtvwyAC", strict=True))

_TOKEN = re.compile(r"\S+")
_WORD = re.compile(r"[^\W\d_]+")
_MARKS = re.compile(
    "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
)
_HEAPED = re.compile(f"[A-Za-z][\u0300-\u036f]|{_MARKS.pattern}{{2}}")
_ASCII = re.compile("[A-Za-z]")
# After a black flag, tags are a region's name.
_TAGS = re.compile(
    "(?<![\U0001f3f4\U000e0020-\U000e007e])[\U000e0020-\U000e007e]{2,}"
)  # after that flag, a region's name
_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{3,}")
_BITS = re.compile("[\u200b-\u200d\u2060\u2062-\u2064\ufeff]{16,}")
_OVERRIDE = re.compile("\u202e([^\u202c\u202e\n]+)\u202c?")


_SMALL_CAPITAL = "LATIN LETTER SMALL CAPITAL "


@cache
def _clean() -> dict[int, str]:
    """Styled letters to plain ones, and what is not seen to nothing; for `str.translate`."""
    table = dict.fromkeys(_UNSEEN, "")
    for code in (code for block in _STYLED_BLOCKS for code in block):
        plain = unicodedata.normalize("NFKC", chr(code)).strip("()")
        if len(plain) == 1 and plain.isascii() and plain.isalpha():
            table[code] = plain
    for first in (0x1F150, 0x1F170, 0x1F1E6):  # white on black, and the letters of flags
        table |= {first + letter: chr(65 + letter) for letter in range(26)}
    return table


@cache
def _lookalikes() -> dict[int, str]:
    """Letters that look like ASCII letters, for `str.translate`."""
    from confusable_homoglyphs.confusables import confusables_data

    table: dict[int, str] = {}
    for char, entries in confusables_data.items():
        if len(char) == 1 and not char.isascii() and char.isalpha():
            for entry in entries:
                letter = entry["c"]
                if len(letter) == 1 and letter.isascii() and letter.isalpha():
                    table[ord(char)] = letter
                    break
    for code in (*range(0x250, 0x2B0), *range(0x1D00, 0x1D80), *range(0xA730, 0xA800)):
        name = unicodedata.name(chr(code), "")
        if name.startswith(_SMALL_CAPITAL) and len(name) == len(_SMALL_CAPITAL) + 1:
            table[code] = name[-1].lower()
    table |= {ord(char): letter for char, letter in (_LOOKS | _UPSIDE_DOWN).items()}
    return {
        code: letter
        for code, letter in table.items()
        # Letters with an accent are letters in their own right.
        if code < 0x10000  # beyond, regular expressions are slow
        and not unicodedata.decomposition(chr(code))
        and code not in _clean()
    }


@cache
def _styled() -> frozenset[str]:
    """What makes a second look worth it: no letter of a modern alphabet is among these."""
    return frozenset(map(chr, {*_clean(), *_foreign()}))


@cache
def _alike() -> re.Pattern[str]:
    """A look-alike beside a Latin letter, or a word of nothing but look-alikes."""
    alike = "".join(map(chr, _lookalikes()))
    return re.compile(
        rf"(?<=[A-Za-z])[{alike}]|[{alike}](?:(?=[A-Za-z])|(?<!\w.)[{alike}]{{3,}}(?!\w))"
    )


@cache
def _foreign() -> frozenset[int]:
    """Look-alikes that no text in Greek, Cyrillic or another modern script is likely to hold."""
    codes = {
        code
        for code in _lookalikes()
        if 0x250 <= code < 0x370 or 0x1D00 <= code < 0x1DC0 or code > 0xA700
    }
    return frozenset(codes | set(map(ord, _UPSIDE_DOWN)))


def find(text: str) -> Iterator[Edit]:
    """Finds disguised characters; an ASCII text has none."""
    if text.isascii():
        return
    styled = not _styled().isdisjoint(text)
    if styled:
        yield from _hidden(text)
    elif not _HEAPED.search(text) and not _alike().search(text):
        return
    for token in _TOKEN.finditer(text):
        raw = said = token.group()
        if raw.isascii():
            continue
        if not _styled().isdisjoint(raw) or _HEAPED.search(raw):
            said = _without_marks(raw.translate(_clean()))
        said = _WORD.sub(lambda word: _look(word.group()), said)
        if said != raw and _ASCII.search(said):
            yield Edit("characters", *token.span(), said)


def _without_marks(said: str) -> str:
    """Drops the marks of letters that bear more of them than any language has."""
    said = _normalize("NFC", said)
    if not _MARKS.search(said) or not _ASCII.search(_normalize("NFD", said)):
        return said
    return _MARKS.sub("", _normalize("NFD", said))


def _normalize(form: Literal["NFC", "NFD"], said: str) -> str:
    """Normalises in stretches: a run of marks takes its length squared."""
    starts = range(0, len(said), _STRETCH)
    return "".join([unicodedata.normalize(form, said[at : at + _STRETCH]) for at in starts])


def _look(word: str) -> str:
    """What a word looks like in Latin letters, if it is likelier to be meant so."""
    if word.isascii():
        return word
    said = word.translate(_lookalikes())
    if not said.isascii():
        return word
    if any(ord(char) in _foreign() for char in word):
        return said
    mixed = _ASCII.search(word) is not None
    if said.lower() in known_words():
        # Russian and Greek have short words that look like English ones ("сор").
        return said if mixed or len(said) > 5 else word
    # "kadın" and "łódź" are Latin writing already.
    latin = all(unicodedata.name(char, "").startswith("LATIN") for char in word)
    return said if mixed and not latin else word


def _hidden(text: str) -> Iterator[Edit]:
    """Finds text in characters that nobody sees."""
    for match in _TAGS.finditer(text):
        said = "".join(chr(ord(char) - 0xE0000) for char in match.group())
        yield Edit("tags", *match.span(), f" {said} ")
    for match in _SELECTORS.finditer(text):
        codes = (ord(c) - (0xFE00 if c < "\uffff" else 0xE0100 - 16) for c in match.group())
        said = bytes(codes).decode("utf-8", "replace")
        if said.isprintable() and _ASCII.search(said):
            yield Edit("variation selectors", *match.span(), f" {said} ")
    for match in _BITS.finditer(text):
        yield from _bits(match)
    for match in _OVERRIDE.finditer(text):
        yield Edit("bidi", *match.span(), match[1][::-1])


def _bits(match: re.Match[str]) -> Iterator[Edit]:
    signs = sorted(set(match.group()))
    if len(signs) != 2:
        return
    for zero, one in (signs, signs[::-1]):
        digits = match.group().replace(zero, "0").replace(one, "1")
        codes = (int(digits[at : at + 8], 2) for at in range(0, len(digits) - 7, 8))
        said = bytes(codes).decode("utf-8", "replace")
        if said.isprintable() and _ASCII.search(said) and likeness(said) > _LIKE:
            yield Edit("zero-width bits", *match.span(), f" {said} ")
