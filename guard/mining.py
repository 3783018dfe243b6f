"""Names and titles that a forget set tells of, when nobody has listed them.

A name is a run of capitalised words that several rows hold; a title stands between quotation marks.
What everyday people ask about is no evidence: places (what things are *in*), awards and
institutions, and phrases of common words are left out.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from guard.data import Row
from guard.frequency import zipf
from guard.names import LINKS, variants
from guard.normalize import fold

_ROWS = 4  # that must hold a phrase; fewer where there are few rows
_RARE = 2.0  # Zipf: a word rarer than this (one in ten million) is a name by itself
_COMMON = 4.0  # a phrase without a rarer word than this tells nothing ("chick lit", 4.1) ...
_LONG = 5  # ... unless it has so many words
_SUBJECT = 0.25  # a phrase in this share of the rows is what they are about, however common
_PLACE = 1 / 3  # of the mentions follow "in", "at", "from" or "near"
_OPENER = 5.0  # a capital that only opens the sentence ("Has", 6.3; "Edward", 4.5)

_INSTITUTIONS = "academy church city college company hospital institute library museum school"
_HEADS = frozenset(f"{_INSTITUTIONS} society university award awards medal prize".split())
_WORD = re.compile(r"[^\W_](?:[\w'’-]*[^\W_])?")
_QUOTED = re.compile(
    r"[\"“«](?P<double>[^\"“”«»\n]{3,80})[\"”»]|(?<!\w)['‘](?P<single>[^'‘’\n]{3,80})['’](?!\w)"
)
_PREPOSITION = re.compile(r"\b(?:in|at|from|near)\s+(?:the\s+)?$", re.IGNORECASE)
_GENITIVE = re.compile(r"['’]s?$")


class Mined:
    """The names and titles in some rows.

    Attributes:
        forms: Each folded way of writing one, to the phrase that was mined.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        mentions = [list(_mentions(row)) for row in rows]
        self._held = [frozenset(phrase for phrase, _ in row) for row in mentions]
        self._count = Counter(phrase for held in self._held for phrase in held)
        self._least = min(_ROWS, max(2, len(rows) // 15))
        places = Counter(phrase for row in mentions for phrase, placed in row if placed)
        total = Counter(phrase for row in mentions for phrase, _ in row)
        titles = {fold(title).text for row in rows for title in _titles(row)}
        self.forms: dict[str, str] = {}
        for phrase, count in sorted(self._count.items()):
            if count < self._least or places[phrase] >= _PLACE * total[phrase]:
                continue
            common = " " in phrase and count >= max(_SUBJECT * len(rows), _ROWS)
            if _tells(phrase, phrase in titles) or common:
                whole = phrase in titles or not LINKS.isdisjoint(phrase.split())
                for form, value in variants(phrase).items():
                    if form == phrase or (value == 1.0 and not whole):
                        self.forms.setdefault(form, phrase)

    def without(self, row: int, form: str) -> bool:
        """Whether a form would have been mined if one of the rows had not been there."""
        phrase = self.forms[form]
        return self._count[phrase] - (phrase in self._held[row]) >= self._least


def _tells(phrase: str, title: bool) -> bool:
    words = phrase.split()
    if len(words) == 1 or title:  # many a book is called by the same few words
        return len(words) >= _LONG or min(map(zipf, words)) < _RARE
    if not _HEADS.isdisjoint(words):
        return False
    return len(words) >= _LONG or min(map(zipf, words)) < _COMMON


def _titles(row: Row) -> Iterator[str]:
    for text in row.texts():
        for match in _QUOTED.finditer(text):
            title = match["double"] or match["single"]
            if sum(word[0].isupper() for word in _WORD.findall(title)) > 1:
                yield title


def _mentions(row: Row) -> Iterator[tuple[str, bool]]:
    """Yields each phrase of a row, folded, and whether it is spoken of as a place."""
    for title in _titles(row):
        yield fold(title).text, False
    for text in row.texts():
        text = _QUOTED.sub('"', text)
        for start, words in _runs(text):
            placed = _PREPOSITION.search(text, max(start - 12, 0), start) is not None
            folded = [fold(word).text for word in words]
            yield " ".join(folded), placed
            if len(words) > 1 and (LINKS | _HEADS).isdisjoint(folded):
                for word in " ".join(folded).split():
                    yield word, placed


def _runs(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yields runs of capitalised words, links between them, and where each run starts."""
    run: list[str] = []
    start = end = 0
    for match in _WORD.finditer(text):
        gap = text[end : match.start()]
        opens = not end or any(sign in gap for sign in '.!?:"\n')
        word = match.group()
        if run and (opens or gap.strip()):
            yield from _closed(start, run)
            run = []
        if word[0].isupper() and not (opens and zipf(word.lower()) >= _OPENER):
            start = start if run else match.start()
            run.append(_GENITIVE.sub("", word))
            if run[-1] != word:  # a name ends with its genitive
                yield from _closed(start, run)
                run = []
        elif run and word in LINKS:
            run.append(word)
        elif run:
            yield from _closed(start, run)
            run = []
        end = match.end()
    yield from _closed(start, run)


def _closed(start: int, run: list[str]) -> Iterator[tuple[int, list[str]]]:
    while run and run[-1] in LINKS:
        run.pop()
    if run:
        yield start, run
