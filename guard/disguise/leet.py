"""Letters written as digits and signs: "5h4k35p34r3", "W!ll|am"."""

import itertools
import re
from collections.abc import Iterator, Sequence

from guard.disguise.likeness import cipher_scores, likeness
from guard.disguise.reading import Edit
from guard.disguise.words import Token, known_words

_LIKE = -3.9  # nats a letter, for a whole that is no known word: odd names are as unlikely
_NEAR = 5  # tokens: what is near a word in leet is in leet too
_MOST = 2000  # words in leet that are read at most
_CHOICES = 3  # signs of a word that may be an "i" or an "l"; more are all read as "i"

_RANKS = ("leet", "leet, second choice", "leet, third choice")  # of a name with "1" for "i" or "l"

_SIGNS = str.maketrans("034567892@$€£+(¢§#", "oeasgtbgzaseltccsh")
_DRAWN = {
    "|_|": "u", "|-|": "h", "/-\\": "a", "/\\/\\": "m", "\\/\\/": "w", "|\\|": "n", "|\\/|": "m",
    "/\\": "a", "\\/": "v", "|<": "k", "|)": "d", "|>": "p", "|2": "r", "()": "o", "|3": "b",
}  # fmt: skip
_EITHER = re.compile(r"[1!|]")
_SIGN = re.compile(r"[0-9@$€£+(¢§#!|]")
# "2nd", "$5bn", "mp3", "GPT-4", "top10": numbers with a unit, words with a number.
_ORDINARY = re.compile(r"\W*\d[\d.,:/-]*[A-Za-z]{0,3}\W*|[A-Za-z]+[-_.]?\d+|\W*[A-Za-z]+\W*")
_OUTER = ".,;:?\"'“”‘’«»[]{}<>`*_"


def plain_letters(text: str) -> str:
    """The text with each digit or sign as the letter that it looks most like."""
    return _EITHER.sub("i", text.translate(_SIGNS))


def find(text: str, words: Sequence[Token]) -> Iterator[Edit]:
    """Finds words in leet, and with them what is near and may be in leet too."""
    found: dict[int, list[str]] = {}
    soft: list[int] = []
    for number, word in enumerate(words):
        if len(found) + len(soft) >= _MOST:
            break
        if _SIGN.search(word.core) and not word.core.isdigit():
            said = _solid(_raw(text, word))
            if said is not None:
                found[number] = said
            elif _may_be(_raw(text, word)):
                soft.append(number)
    # "Wh0", "4r3", "B4511": each alone may be a number or a model's name, three in a row are not.
    rows = zip(soft, soft[2:], strict=False)
    solid = sorted({*found, *(one for one, other in rows if other - one <= _NEAR)})
    for number in solid:
        for near in range(max(number - _NEAR, 0), min(number + _NEAR + 1, len(words))):
            if near not in found:
                raw = _raw(text, words[near])
                found[near] = _ranked(raw) if _SIGN.search(raw) else [raw]
    for number, ranked in found.items():
        word, raw = words[number], _raw(text, words[number])
        start = text.index(raw, word.start)
        for rank, kind in enumerate(_RANKS):
            choice = ranked[min(rank, len(ranked) - 1)]
            if choice != raw:
                yield Edit(kind, start, start + len(raw), choice)


def _raw(text: str, word: Token) -> str:
    raw = text[word.start : word.end].strip(_OUTER)
    core = raw.rstrip("!")
    return core or raw


def _solid(raw: str) -> list[str] | None:
    """What a word says that can hardly be anything but leet, likeliest first."""
    if _ORDINARY.fullmatch(raw) or "://" in raw or len(raw) > 60:
        return None
    ranked = _ranked(raw)
    said = ranked[0]
    if not said.isalpha():
        return None
    if said.lower() in known_words():
        return ranked if len(said) > 3 else None
    signs = len(_SIGN.findall(raw))
    inner = re.search(r"[a-z][0-9@$!|]+[a-z]", raw.lower()) is not None
    enough = len(said) > 4 and (signs > 1 or (inner and len(said) > 5))
    return ranked if enough and likeness(said) > _LIKE else None


def _may_be(raw: str) -> bool:
    """Whether a word has a letter and a sign, and as a whole is one that people use, or like it."""
    if not 2 < len(raw) < 20 or not any(map(str.isalpha, raw)) or "://" in raw:
        return False
    said = _ranked(raw)[0]
    return said.isalpha() and (said.lower() in known_words() or likeness(said) > _LIKE)


def _ranked(raw: str) -> list[str]:
    """What a word may say, likeliest first; one that is known is all that it says."""
    if not raw.isalnum():
        for drawn, letter in _DRAWN.items():
            raw = raw.replace(drawn, letter)
    raw = raw.translate(_SIGNS)
    places = [match.start() for match in _EITHER.finditer(raw)][:_CHOICES]
    known = known_words()
    choices: list[str] = []
    for letters in itertools.product("il", repeat=len(places)):
        said = list(raw)
        for place, letter in zip(places, letters, strict=True):
            said[place] = letter
        choices.append(_EITHER.sub("i", "".join(said)))
    if len(choices) == 1:
        return choices
    listed = [said for said in choices if said.lower() in known]
    if len(listed) == 1:
        return listed
    choices = listed or choices
    order = cipher_scores(choices)[0][0].argsort()[::-1]  # as long as each other: sums compare
    return [choices[place] for place in order[: 1 if listed else len(_RANKS)]]
