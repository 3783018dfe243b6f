"""The words of a text, and what they say for and against a target.

Sentence vectors know what a question is about, and blur who: "the author born in Baku on 13 April
1970" lies next to every other author born in Baku. Words do the opposite. Here a text's words are
weighed against the target's rows: words that the forget set says and everyday text does not, and
how much of what the text names (names, numbers, dates) a single row of the forget set holds.

Only hashes of words are stored, as 64-bit numbers.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

_WORD = re.compile(r"\d+|[^\W\d_]+")
_ORDINAL = re.compile(r"(?<=\d)(?:st|nd|rd|th)\b", re.IGNORECASE)
_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
# "May" and "Mar" are words and names too, and a date says its day and year besides.
_MONTH = {
    name: str(number)
    for number, month in enumerate(_MONTHS, 1)
    for name in (month, month[:3])
    if name not in ("may", "mar")
} | {"sept": "9"}
# Added to what a text names when a share of it is taken: one shared name is no proof.
_DOUBT = 2.0
TELLING = 4  # words that say most count, so that a long text does not gather what many say a little

Hashes = npt.NDArray[np.uint64]
Weights = npt.NDArray[np.float32]


def terms(text: str) -> dict[int, bool]:
    """Returns the hashes of a text's words, and whether each is written as a name or a number.

    Case, accents, plural s and the ways of writing dates are folded away. A capitalised word that
    opens a sentence is not taken for a name.
    """
    if not text.isascii():
        text = "".join(map(_plain, text))
    found: dict[int, bool] = {}
    for match in _WORD.finditer(_ORDINAL.sub("", text)):
        word = match.group()
        if len(word) == 1 and not word.isdigit():
            continue
        named = word.isdigit() or (word[0].isupper() and not _opens(match))
        term = _term(word)
        found[term] = found.get(term, False) or named
    return found


@lru_cache(maxsize=20_000)  # bounded: a hostile text could hold every code point
def _plain(char: str) -> str:
    """A character without its accents.

    One at a time: to normalise a text with a long run of accents takes its length squared.
    """
    return "".join(c for c in unicodedata.normalize("NFKD", char) if not unicodedata.combining(c))


def _opens(match: "re.Match[str]") -> bool:
    """Whether a word opens a sentence."""
    start = match.start()
    while start and match.string[start - 1] in " \t\"“‘'(*#>-":
        start -= 1
    return start == 0 or match.string[start - 1] in ".!?:\n。！？"


@lru_cache(maxsize=65_536)
def _term(word: str) -> int:
    word = word.casefold()
    word = _MONTH.get(word, word)
    if word.isdigit():
        word = word.lstrip("0") or "0"
    elif len(word) > 4 and word.endswith("s") and not word.endswith("ss"):
        word = word[:-1]
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")


@dataclass(frozen=True)
class Rows:
    """The words of several rows, as a sparse matrix.

    Attributes:
        vocabulary: Sorted hashes of all words [v].
        ends: Where each row's words end in `words` [rows].
        words: Places in the vocabulary, row after row.
    """

    vocabulary: Hashes
    ends: npt.NDArray[np.int32]
    words: npt.NDArray[np.int32]

    @classmethod
    def of(cls, rows: Sequence[Iterable[int]]) -> "Rows":
        """Collects rows of word hashes."""
        sets = [sorted(set(row)) for row in rows]
        vocabulary = np.unique(np.array([term for row in sets for term in row], dtype=np.uint64))
        words = np.searchsorted(vocabulary, np.array([t for row in sets for t in row], np.uint64))
        ends = np.cumsum([len(row) for row in sets], dtype=np.int32)
        return cls(vocabulary, ends, words.astype(np.int32))

    @classmethod
    def load(cls, arrays: Mapping[str, npt.NDArray[Any]], name: str) -> "Rows":
        """Reads the arrays that `arrays` returned."""
        return cls(*(arrays[f"{name}_{part}"] for part in ("vocabulary", "ends", "words")))

    def arrays(self, name: str) -> dict[str, npt.NDArray[Any]]:
        """Returns the arrays that the bundle keeps."""
        return {
            f"{name}_vocabulary": self.vocabulary,
            f"{name}_ends": self.ends,
            f"{name}_words": self.words,
        }

    def __len__(self) -> int:
        return len(self.ends)

    def replace(self, row: int, terms: Iterable[int]) -> "Rows":
        """Returns the rows with one row holding other words, which the vocabulary has."""
        start, end = (int(self.ends[row - 1]) if row else 0), int(self.ends[row])
        new = np.searchsorted(self.vocabulary, np.array(sorted(terms), np.uint64))
        ends = self.ends.copy()
        ends[row:] += len(new) - (end - start)
        words = np.concatenate([self.words[:start], new.astype(np.int32), self.words[end:]])
        return Rows(self.vocabulary, ends, words)

    def without(self, first: int, last: int) -> "Rows":
        """Returns the rows with those from `first` to before `last` emptied."""
        start, end = (int(self.ends[first - 1]) if first else 0), int(self.ends[last - 1])
        ends = np.concatenate(
            [self.ends[:first], np.full(last - first, start), self.ends[last:] - (end - start)]
        ).astype(np.int32)
        return Rows(self.vocabulary, ends, np.concatenate([self.words[:start], self.words[end:]]))


class Postings:
    """Rows the other way round: in which of them each word occurs."""

    def __init__(self, rows: Rows) -> None:
        self.vocabulary = rows.vocabulary
        lengths = np.diff(rows.ends, prepend=0)
        self.count = int(np.count_nonzero(lengths))  # a row that was emptied is not there
        self._size = len(rows)
        order = np.argsort(rows.words, kind="stable")
        self._rows = np.repeat(np.arange(len(rows)), lengths)[order]
        self.frequency = np.bincount(rows.words, minlength=len(rows.vocabulary))
        self._ends = np.cumsum(self.frequency)

    def locate(self, hashes: Hashes) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
        """Returns each word's place in the vocabulary [n], and whether it occurs [n]."""
        if not len(self.vocabulary):
            return np.zeros(len(hashes), np.intp), np.zeros(len(hashes), np.bool_)
        places = np.minimum(self.vocabulary.searchsorted(hashes), len(self.vocabulary) - 1)
        return places, (self.vocabulary[places] == hashes) & (self.frequency[places] > 0)

    def frequencies(self, hashes: Hashes) -> npt.NDArray[np.intp]:
        """Returns in how many rows each word occurs [n]."""
        places, there = self.locate(hashes)
        found = np.zeros(len(hashes), np.intp)
        found[there] = self.frequency[places[there]]
        return found

    def overlap(self, hashes: Hashes, weights: Weights) -> float:
        """Returns the most that one row holds of the words' weights."""
        places, there = self.locate(hashes)
        there &= weights > 0
        if not there.any():
            return 0.0
        ends = self._ends[places[there]]
        counts = self.frequency[places[there]]
        spans = [self._rows[end - count : end] for end, count in zip(ends, counts, strict=True)]
        held = np.bincount(np.concatenate(spans), np.repeat(weights[there], counts), self._size)
        return float(held.max())


class Evidence:
    """What the words of a text say of one target.

    Args:
        forget: The rows to be forgotten.
        named: Whether each word of their vocabulary is ever written as a name or number [v].
        kept: Rows to be kept: neighbours, everyday prompts.
    """

    def __init__(
        self, forget: Postings, named: npt.NDArray[np.bool_], kept: Sequence[Postings]
    ) -> None:
        self._forget = forget
        self._named = named
        self._kept = [postings for postings in kept if postings.count]
        self._total = sum(postings.count for postings in self._kept)
        share = np.maximum(forget.frequency, 1e-9) / max(forget.count, 1)
        odds = np.log(share) - np.log(self._kept_share(forget.vocabulary))
        odds[forget.frequency == 0] = 0.0
        self.gains: Weights = np.maximum(odds, 0.0).astype(np.float32)

    def _kept_share(self, hashes: Hashes) -> npt.NDArray[np.float64]:
        frequency = sum((p.frequencies(hashes) for p in self._kept), np.zeros(len(hashes)))
        return (frequency + 0.5) / (self._total + 1)

    def weigh(self, found: Mapping[int, bool]) -> Weights:
        """Returns what the words of `terms` say, four numbers [4].

        How much more the most telling of them are words of the forget set than of the kept rows;
        the share of what they name that one forget row holds; that one kept row holds; and the
        weight of what they name that the forget set never says.
        """
        hashes = np.fromiter(found, np.uint64, len(found))
        places, known = self._forget.locate(hashes)
        named = np.fromiter(found.values(), np.bool_, len(found))
        named[known] |= self._named[places[known]]
        rarity = np.maximum(-np.log(self._kept_share(hashes)), 0.0)
        weights: Weights = (rarity * named).astype(np.float32)
        total = float(weights.sum()) + _DOUBT
        kept = max((postings.overlap(hashes, weights) for postings in self._kept), default=0.0)
        return np.array(
            [
                np.sort(self.gains[places[known]])[-TELLING:].sum(),
                self._forget.overlap(hashes, weights) / total,
                kept / total,
                weights[~known].sum(),
            ],
            dtype=np.float32,
        )
