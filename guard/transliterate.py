"""Names across scripts: a word of another script, and the known words that it may sound like.

A word is romanised (AnyAscii) and reduced to its consonants, in classes wide enough for what
scripts cannot tell apart: Japanese l and r, Korean p and f, Arabic b and p. Vowels go: Arabic omits
them, Japanese adds them. (Consonant classes are Soundex's idea: R. Russell, US 1261167, 1918.)
"""

import re
from collections.abc import Iterable, Iterator
from itertools import product
from typing import NamedTuple

from anyascii import anyascii
from rapidfuzz.distance import OSA

_LONGEST = 40  # letters of a name

# A word whose script is neither Latin nor Chinese.
FOREIGN_WORD = re.compile(
    r"(?P<cyrillic>[\u0400-\u052f\u0300-\u036f]+)"
    r"|(?P<arabic>[\u0620-\u065f\u066e-\u06d3\u06fa-\u06ff\ufb50-\ufdff\ufe70-\ufefc]+)"
    r"|(?P<hangul>[\u1100-\u11ff\uac00-\ud7a3]+)"
    r"|(?P<katakana>[\u30a1-\u30fa\u30fc\uff66-\uff9f]+)"
    r"|(?P<hebrew>[\u05d0-\u05ea](?:['’\u05f3\u05f4]?[\u0591-\u05bd\u05c1-\u05ea])*)"
    r"|(?P<other>[\u0370-\u03ff\u0530-\u0588]+|[\u10a0-\u10ff]+|(?:(?![\u0964-\u096f])[\u0900-\u0dff])+)"
)
# What grammar hangs on a name: Arabic and Hebrew in front, Korean and Russian behind.
_ARABIC = re.compile("([وف]?[بكل]?)(ال)?(.+)")
_HEBREW = re.compile("([ובלמהשכ])(.{3,})")
_KOREAN = re.compile(
    "(.{2,}?)(?:은|는|이|가|을|를|의|에|에게|에서|와|과|도|로|으로|께서|이라는|라는|만|처럼|보다)"
)
_RUSSIAN = re.compile("(.{3,}?)(?:om|em|ym|im|am|yam|ami|yami|ogo|ego|omu|emu|akh|yakh|[aeiouy])")


class Heard(NamedTuple):
    """A known word that a word of another script may stand for.

    Attributes:
        word: The known word.
        weight: How many consonants they agree in.
        close: Whether they agree in all consonants, and in where vowels stand between them.
        sure: Whether they agree in so much that the word counts alone.
    """

    word: str
    weight: int
    close: bool
    sure: bool


class ForeignWord(NamedTuple):
    """A word of another script: its place in the match, and its readings in Latin letters.

    `rhotic` is whether its language says the r in "Darwin"; Japanese and Korean do not.
    """

    start: int
    end: int
    readings: tuple[str, ...]
    rhotic: bool = True


def foreign_words(match: re.Match[str]) -> Iterator[ForeignWord]:
    """Reads a match of `FOREIGN_WORD`: one word, or an article and one."""
    word, script, start = match.group(), match.lastgroup, 0
    if len(word) > _LONGEST:
        return
    spellings = [word]
    if script == "arabic" and (parts := _ARABIC.fullmatch(word)):
        if parts[2]:  # the article is a word of its own: "al-Kuwaiti"
            start = parts.start(3)
            yield ForeignWord(0, start, ("al",))
            spellings = [word[start:]]
        else:
            spellings += [word[1:], parts[3]] if parts[1] else []
    elif script == "hangul" and (parts := _KOREAN.fullmatch(word)):
        spellings.append(parts[1])
    elif script == "hebrew" and (parts := _HEBREW.fullmatch(word)):
        spellings.append(parts[2])
    readings = [_romanised(spelling, script) for spelling in spellings]
    if script == "cyrillic" and (parts := _RUSSIAN.fullmatch(readings[0])):
        readings.append(parts[1])
    known = tuple(dict.fromkeys(filter(None, readings)))
    yield ForeignWord(start, len(word), known, script not in ("katakana", "hangul"))


# Where AnyAscii keeps to a script's letters and hides the sound.
_RESPELT = str.maketrans({"ظ": "ز", "ッ": None, "ं": "न", "ँ": "न"})
_NASAL = "ंँ"  # at a word's end no consonant
_RESOUND = re.compile("(?<=[a-z])i(?=y[aou])|e(?=o)|eu")  # niyuton, nyuteon, seupiereu
_ADDED = re.compile("(?<=[a-z])u(?![aeiouy])")  # Japanese: torusutoi


def _romanised(word: str, script: str | None) -> str:
    latin = re.sub("[^a-z]", "", anyascii(word.rstrip(_NASAL).translate(_RESPELT)).lower())
    if script == "other":  # AnyAscii writes the Indic "ch" so
        latin = re.sub("c(?!h)", "ch", latin)
    latin = _RESOUND.sub("", latin)
    return _ADDED.sub("", latin) if script == "katakana" else latin


class Sounds:
    """Finds words by how they sound.

    Args:
        words: Lower-case words; those without a consonant are left out.
        rhotic: Whether an r that no vowel follows is always heard.
    """

    def __init__(self, words: Iterable[str], rhotic: bool = True) -> None:
        self._words: dict[str, list[tuple[str, str]]] = {}  # and their sounds, by skeleton
        self._skeletons: dict[str, list[str]] = {}  # by what is left of them without a letter
        for word in dict.fromkeys(words):
            if len(word) > 1 and word.isalpha() and word.isascii():
                for skeleton in _skeletons(word, rhotic):
                    self._words.setdefault(skeleton, []).append((word, _sound(word)))
        for skeleton in self._words:
            for form in _shortened(skeleton):
                self._skeletons.setdefault(form, []).append(skeleton)

    def near(self, reading: str) -> list[Heard]:
        """Returns the known words that a reading in Latin letters may stand for."""
        skeleton, sound = _skeleton(reading), _sound(reading)
        known = {same for form in _shortened(skeleton) for same in self._skeletons.get(form, ())}
        found: dict[str, Heard] = {}
        for same in sorted(known, key=lambda same: (same != skeleton, same)):
            if not _alike(skeleton, same):
                continue
            exact = same == skeleton
            weight = len(skeleton) if exact else min(len(skeleton), len(same)) - 1
            for word, known_sound in self._words[same]:
                if word not in found:
                    close = exact and OSA.distance(sound, known_sound) < 2
                    sure = close and (
                        weight > 4 or (weight > 2 and OSA.distance(reading, word) <= len(word) // 3)
                    )
                    found[word] = Heard(word, weight, close, sure)
        return list(found.values())


def _alike(one: str, other: str) -> bool:
    """Whether two skeletons may be one name's: a consonant more or less, in long ones another."""
    distance = OSA.distance(one, other)
    return not distance or (
        distance == 1 and max(len(one), len(other)) > (3 if len(one) != len(other) else 4)
    )


# Consonants by class, longer spellings first; the rest are vowels, or as weak.
_CLASSES = [
    ("tsch|tsh|tch|sch|dzh|dsch|dj|sh|zh|ch|ts|tz|dz|cz", "s"),
    ("ck|qu|kk", "k"),
    ("c(?=[eiy])", "s"),
    ("x", "ks"),
    ("kh", "a"),
    ("ng", "n"),
    ("th|t|d", "t"),
    ("ph|b|f|p|v", "p"),
    ("s|z|j", "s"),
    ("k|q|g|c", "k"),
    ("l|r", "l"),
    ("m", "m"),
    ("n", "n"),
    (".", "a"),
]
_SOUND = re.compile("|".join(f"({spelling})" for spelling, _ in _CLASSES))
# Where a Latin spelling leaves the sound open, each is tried (written as what `_SOUND` reads so).
_OPEN = re.compile("ch|th|gh|kh|w|h|j|g(?=[eiy])")
_WAYS = {"ch": "sk", "th": "ts", "gh": "k ", "kh": " k", "w": " p", "h": " k", "j": "s ", "g": "ks"}
_MOST = 16  # skeletons of one word


_DOUBLE = re.compile(r"(.)\1+")
_CODA = re.compile("r(?![aeiouyr])")


def _sound(latin: str) -> str:
    """The classes of a spelling's consonants, and "a" for what stands between them."""
    return _DOUBLE.sub(r"\1", _SOUND.sub(lambda m: _CLASSES[(m.lastindex or 1) - 1][1], latin))


def _skeleton(latin: str) -> str:
    return _sound(latin).replace("a", "")


def _skeletons(word: str, rhotic: bool) -> list[str]:
    """The consonants of a Latin spelling, in each way that it may be read."""
    spelling = re.sub("sch|tch|sh|ph", lambda match: "p" if match[0] == "ph" else "s", word)
    found: dict[str, None] = {}
    for read in dict.fromkeys((spelling, spelling if rhotic else _CODA.sub("", spelling))):
        rest = _OPEN.split(read)
        for ways in product(*(_WAYS[spelt] for spelt in _OPEN.findall(read))):
            found[_skeleton("".join(a + b for a, b in zip(rest, (*ways, ""), strict=True)))] = None
            if len(found) == _MOST:
                break
    return [skeleton for skeleton in found if skeleton]


def _shortened(skeleton: str) -> list[str]:
    """A skeleton and, where it is long enough to bear that, what is left without a letter."""
    if len(skeleton) < 3:
        return [skeleton] if skeleton else []
    return list(
        dict.fromkeys([skeleton, *(skeleton[:n] + skeleton[n + 1 :] for n in range(len(skeleton)))])
    )
