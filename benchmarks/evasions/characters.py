"""Evasions that write the letters of a question differently, for people to read all the same."""

import random
import re
import unicodedata
from collections.abc import Callable

from benchmarks.evasions.base import Evasion, Make
from benchmarks.question import Question

_INVISIBLE = "\u200b\u200c\u200d\u2060"
_LOWER = "abcdefghijklmnopqrstuvwxyz"
_UPPER = _LOWER.upper()

# What looks alike, by script; letters without a look-alike stay.
_CYRILLIC = dict(
    zip("aceijopsxyABCEHIKMOPSTXY", "асеіјорѕхуАВСЕНІКМОРЅТХУ", strict=True)
)  # fmt: skip
_GREEK = dict(zip("aiknopuvABEHIKMNOPTXYZ", "αικηορυνΑΒΕΗΙΚΜΝΟΡΤΧΥΖ", strict=True))
_SMALL_CAPITALS = dict(zip("abcdefghijklmnoprtuvwyz", "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀᴛᴜᴠᴡʏᴢ", strict=True))
_BOLD = {letter: chr(0x1D5D4 + n) for n, letter in enumerate(_UPPER + _LOWER)}
_CIRCLED = {letter: chr(0x24B6 + n) for n, letter in enumerate(_UPPER + _LOWER)}
_FULL_WIDTH = {chr(n): chr(n + 0xFEE0) for n in range(0x21, 0x7F)} | {" ": "\u3000"}
_LEET = dict(zip("aeiostAEIOST", "431057431057", strict=True))
_KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_WORD = re.compile(r"[^\W\d_]+")


def _table(name: str, table: dict[str, str], *, exact: bool = True) -> Evasion:
    back = {new: old for old, new in table.items()}
    undo = (lambda text: "".join(back.get(c, c) for c in text)) if exact else None
    return Evasion(name, _text(lambda text: "".join(table.get(c, c) for c in text)), undo)


def _text(change: Callable[[str], str]) -> Make:
    return lambda question, rng: change(question.text)


def _between(name: str, sign: str, gap: str) -> Evasion:
    """Puts a sign between the letters of each word; words are a gap apart."""
    return Evasion(
        name,
        _text(lambda text: gap.join(sign.join(word) for word in text.split())),
        lambda text: " ".join(word[::2] for word in text.split(gap)),
    )


def _zero_width(question: Question, rng: random.Random) -> str:
    return "".join(c + rng.choice(_INVISIBLE) if c.isalpha() else c for c in question.text)


def _accents(question: Question, rng: random.Random) -> str:
    marks = "\u0301\u0308\u0323\u0331"
    return "".join(c + rng.choice(marks) if c.isascii() and c.isalpha() else c
                   for c in question.text)  # fmt: skip


def _look_alikes(question: Question, rng: random.Random) -> str:
    tables = (_CYRILLIC, _GREEK, _SMALL_CAPITALS, _BOLD, _FULL_WIDTH)
    return "".join(rng.choice(tables).get(c, c) if c.isalpha() else c for c in question.text)


def _typos(question: Question, rng: random.Random) -> str:
    """One slip of the keyboard in a word of five letters or in a name, two in one of nine."""

    def slip(match: re.Match[str]) -> str:
        word = match.group()
        least = 4 if word[0].isupper() else 5
        for _ in range((len(word) >= least) + (len(word) >= 9)):
            word = _slip(word, rng)
        return word

    return _WORD.sub(slip, question.text)


def _slip(word: str, rng: random.Random) -> str:
    at = rng.randrange(1, len(word) - 1)
    before, letter, after = word[:at], word[at], word[at + 1 :]
    kind = rng.choice(("swap", "drop", "double", "neighbour"))
    if kind == "swap":
        return before + after[0] + letter + after[1:]
    if kind == "drop":
        return before + after
    if kind == "double":
        return before + 2 * letter + after
    row = next((row for row in _KEYBOARD if letter.lower() in row), letter)
    place = row.index(letter.lower()) if letter.lower() in row else 0
    near = row[max(place - 1, 0) : place] + row[place + 1 : place + 2]
    return before + (rng.choice(near) if near else letter) + after


def _strip(categories: str) -> Callable[[str], str]:
    return lambda text: "".join(c for c in text if unicodedata.category(c) != categories)


EVASIONS = (
    Evasion("zero-width", _zero_width, _strip("Cf")),
    Evasion("soft hyphens", _text(lambda text: "\u00ad".join(text)), _strip("Cf")),
    Evasion("stacked accents", _accents, _strip("Mn")),
    _table("Cyrillic look-alikes", _CYRILLIC),
    _table("Greek look-alikes", _GREEK),
    _table("small capitals", _SMALL_CAPITALS),
    _table("mathematical bold", _BOLD),
    _table("circled letters", _CIRCLED),
    Evasion("mixed look-alikes", _look_alikes),
    _table("full width", _FULL_WIDTH),
    _table("leet", _LEET, exact=False),
    _between("spaced letters", " ", "   "),
    _between("dotted letters", ".", " "),
    _between("hyphenated letters", "-", " "),
    Evasion("reversed", _text(lambda text: text[::-1]), lambda text: text[::-1]),
    Evasion(
        "reversed words",
        _text(lambda text: " ".join(text.split()[::-1])),
        lambda text: " ".join(text.split()[::-1]),
    ),
    Evasion("typos", _typos),
    Evasion("lower case", _text(str.lower)),
    Evasion(
        "alternating case",
        _text(lambda t: "".join(c.upper() if n % 2 else c.lower() for n, c in enumerate(t))),
    ),
)
