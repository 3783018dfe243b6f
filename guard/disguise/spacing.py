"""Words pulled apart ("S h a k e", "W.i.l.l", "Will-iam") or pushed together ("whoiswilliam")."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from guard.disguise.leet import plain_letters
from guard.disguise.likeness import likeness
from guard.disguise.reading import Edit
from guard.disguise.words import Token, is_known, known_words, segment

_LIKE = -3.2  # nats a letter: single letters that are no words ("a b c d") stay as they are
_TOGETHER = re.compile(r"[A-Za-z]{15,80}")  # shorter ones are names, which are read whole anyway

_SIGN = (  # letters of scripts that write letter by letter, and the signs of leet
    r"(?:[A-Za-z0-9\u00c0-\u024f\u0370-\u03ff\u0400-\u04ff]|[@$!|+](?=\W))"
)
_APART = re.compile(rf"(?<![^\W_]){_SIGN}(?:[\W_]{{1,5}}?{_SIGN}(?![^\W_])){{3,}}")
_SEGMENTED = 20_000  # letters that are put into words at most: it is the slowest thing here
_CAMEL = re.compile(r"[A-Z]?[a-z]+")
_IDENTIFIER = range(2, 5)  # capitals of a name in a program, "getElementsByClassName"
_GAP = re.compile(r"[\W_]+")
_TORN = re.compile(r"[^\W\d_]+(?:[-._~*·|/^,;:+=][^\W\d_]+)+")


def find(text: str, words: Sequence[Token]) -> Iterator[Edit]:
    """Finds single letters in a row, words torn by signs, and words without spaces."""
    for match in _APART.finditer(text):
        yield from _joined(match)
    to_segment = _SEGMENTED
    for word in words:
        if not word.strange:
            continue
        if not word.core.isalnum():
            yield from _torn(text, word)
        if len(word.core) < 15:
            continue
        for match in _TOGETHER.finditer(text, word.start, word.end):
            pieces = _CAMEL.findall(match.group())
            if len(pieces) in _IDENTIFIER and all(map(is_known, pieces)):
                continue
            if to_segment > 0 and likeness(match.group()) > _LIKE - 0.4:
                to_segment -= len(match.group())
                parted = segment(match.group())
                if parted is not None and parted.count(" ") > 1:
                    yield Edit("unspaced", *match.span(), f"{parted} ")
    yield from _shuffled(text, words)


def _joined(match: re.Match[str]) -> Iterator[Edit]:
    """Joins single letters; the gap seen most is between letters, any other between words."""
    run = match.group()
    gaps = _GAP.findall(run)
    if not gaps:
        return
    (usual, times), *_ = Counter(gaps).most_common(1)
    uniform = times * 2 >= len(gaps)
    said = _GAP.sub(lambda gap: " " if uniform and gap.group() != usual else "", run)
    letters = sum(map(str.isalpha, said))
    # "a[i] * b[i]" makes no word of three letters.
    if letters < 4 or letters * 3 < len(said) or max(map(len, said.split())) < 3:
        return
    parted = segment(said) if said.isascii() and said.isalpha() else None
    if said.isascii() and (likeness(plain_letters(said)) < _LIKE if uniform else parted is None):
        return
    yield Edit("spaced", *match.span(), f" {parted or said} ")


def _torn(text: str, word: Token) -> Iterator[Edit]:
    """Joins a word torn by a sign, where the pieces are no words and the whole may be one."""
    for match in _TORN.finditer(text, word.start, word.end):
        pieces = re.split(r"[\W_]+", match.group())
        if sum(len(piece) == 1 for piece in pieces) > len(pieces) // 2:
            continue  # single letters
        whole = "".join(pieces)
        known = known_words()
        strange = [piece for piece in pieces if piece.lower() not in known]
        # "Al-Kuwaiti" has a name behind its hyphen, "Mah-fouz" has half of one.
        halves = any(piece.islower() for piece in strange if piece is not pieces[0])
        if (whole.lower() in known and not is_known(match.group())) or (
            halves and "/" not in match.group()
        ):
            yield Edit("torn", *match.span(), whole)


def _shuffled(text: str, words: Sequence[Token]) -> Iterator[Edit]:
    """Reads "Wh oisWil liamSha kespe are": strange short pieces that are words together."""
    first = last = -1
    to_segment = _SEGMENTED
    for number, word in enumerate([*words, Token(0, 0, "", False)]):
        if word.core[:1].isalpha() and word.core.isascii() and (word.strange or len(word.core) < 4):
            if word.strange:
                first, last = (number if first < 0 else first), number
            continue
        if last - first > 1 and to_segment > 0:
            run = words[max(first - 1, 0) : last + 2]
            run = [piece for piece in run if piece.core.isascii() and piece.core[:1].isalpha()]
            if sum(piece.strange for piece in run) * 2 > len(run):
                to_segment -= run[-1].end - run[0].start
                parted = segment(re.sub("[^A-Za-z]", "", "".join(piece.core for piece in run)))
                apart = sum(is_known(piece.core) for piece in run)
                if parted and sum(len(w) > 3 and is_known(w) for w in parted.split()) > apart:
                    yield Edit("torn", run[0].start, run[-1].end, f"{parted} ")
        first = last = -1
