"""One target's rows as the detectors that read words and vectors take them at compile time.

What a row scores must be found as if the row had not been there. A forget row's question is taken
out, and its answer stays: that is how far a question asked in other words is from what the target
holds. Rows to be kept are held out in blocks of neighbours in the file, since rows about one
subject mostly stand together and vouch for one another.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

from guard.data import Row
from guard.detectors.base import Examples, Vectors
from guard.detectors.terms import Evidence, Postings, Rows, terms
from guard.view import View, slide

_BLOCKS = 10


@dataclass(frozen=True)
class Collected:
    """A target's rows, taken apart.

    Attributes:
        examples: Where they come from.
        numbers: Which forget rows are more than a name [m].
        texts: Everything that the target's vectors are made of: questions, answers, the windows of
            passages [t].
        owner: Which of the m rows each text belongs to [t].
        stays: Whether a text stays when its row is held out [t].
        retain: The words of the neighbours.
        background: The words of the everyday prompts.
    """

    examples: Examples
    numbers: tuple[int, ...]
    texts: tuple[str, ...]
    owner: npt.NDArray[np.intp]
    stays: npt.NDArray[np.bool_]
    retain: Rows
    background: Rows

    @property
    def rows(self) -> list[Row]:
        """The forget rows that are more than a name [m]."""
        return [self.examples.forget[number] for number in self.numbers]

    @cached_property
    def forget(self) -> Rows:
        """The words of the forget rows [m]."""
        return Rows.of([words_of(row) for row in self.rows])

    @cached_property
    def named(self) -> npt.NDArray[np.bool_]:
        """Whether each word of the forget rows is ever written as a name or number."""
        written: set[int] = set()
        for row in self.rows:
            for text in (row.prompt, row.answer):
                written |= {term for term, named in terms(text).items() if named}
        return np.array([int(term) in written for term in self.forget.vocabulary], dtype=np.bool_)

    @cached_property
    def evidence(self) -> Evidence:
        """The words weighed with every row there: what the running detector has."""
        kept = [Postings(self.retain), Postings(self.background)]
        return Evidence(Postings(self.forget), self.named, kept)

    @cached_property
    def inside(self) -> npt.NDArray[np.float32]:
        """What the words of each forget row say when it is held out [m, 4]; see `Evidence`."""
        kept = [Postings(self.retain), Postings(self.background)]
        measures = np.zeros((len(self.rows), 4), np.float32)
        for number, row in enumerate(self.rows):
            left = Postings(self.forget.replace(number, terms(row.answer)))
            measures[number] = Evidence(left, self.named, kept).weigh(terms(row.prompt))
        return measures

    @cached_property
    def outside(self) -> npt.NDArray[np.float32]:
        """What the words of each kept row say when it is held out [retain + background, 4]."""
        forget, sides = Postings(self.forget), (self.retain, self.background)
        queries = (self.examples.retain, self.examples.background)
        measures = []
        for side, rows in enumerate(queries):
            for first, last in blocks(len(rows)):
                kept = [
                    Postings(words.without(first, last) if n == side else words)
                    for n, words in enumerate(sides)
                ]
                held = Evidence(forget, self.named, kept)
                measures += [held.weigh(terms(row.prompt)) for row in rows[first:last]]
        return np.array(measures, np.float32).reshape(-1, 4)

    @property
    def kept_prompts(self) -> list[str]:
        """What the kept rows ask [retain + background]."""
        return [row.prompt for row in (*self.examples.retain, *self.examples.background)]

    def nearest_others(self, vectors: Vectors) -> Vectors:
        """For each row, the cosine of what it asks to the nearest text of the target [m].

        Args:
            vectors: The vectors of `texts`.
        """
        first = np.flatnonzero(np.r_[True, self.owner[1:] != self.owner[:-1]])
        cosines = vectors[first] @ vectors.T
        own = self.owner[None, :] == np.arange(len(first))[:, None]
        cosines[own & ~self.stays[None, :]] = -1.0
        return np.asarray(cosines.max(axis=1), dtype=np.float32)

    def aligned(self, scores: Sequence[float] | npt.NDArray[np.float32]) -> list[float]:
        """One score for each forget row of the examples; NaN for those that are names."""
        held = dict(zip(self.numbers, scores, strict=False))
        return [float(held.get(n, np.nan)) for n in range(len(self.examples.forget))]


@lru_cache(maxsize=2)  # the stages of one target ask one after the other
def collect(examples: Examples) -> Collected | None:
    """Takes a target's rows apart; None where all it has is names."""
    numbers = tuple(n for n, row in enumerate(examples.forget) if not row.is_name)
    if not numbers:
        return None
    texts: list[str] = []
    owner: list[int] = []
    stays: list[bool] = []
    for number, row in enumerate(examples.forget[n] for n in numbers):
        asked, answered = _vector_texts(row)
        texts += asked + answered
        owner += [number] * len(asked + answered)
        stays += [False] * len(asked) + [True] * len(answered)
    return Collected(
        examples,
        numbers,
        tuple(texts),
        np.array(owner, np.intp),
        np.array(stays, np.bool_),
        Rows.of([words_of(row) for row in examples.retain]),
        Rows.of([words_of(row) for row in examples.background]),
    )


def words_of(row: Row) -> dict[int, bool]:
    """The words of a row, its answer included."""
    return {**terms(row.prompt), **terms(row.answer)}


def _vector_texts(row: Row) -> tuple[list[str], list[str]]:
    """What is encoded of a row: what is asked, or a passage in pieces; then what is answered."""
    if row.answer:
        return _whole(row.prompt), [piece for text in row.texts()[1:] for piece in _whole(text)]
    windows = [window.text for window in View.of_text(row.prompt).windows]
    return list(dict.fromkeys(windows)) or [row.prompt], []


def _whole(text: str) -> list[str]:
    """A text as it is, or where an encoder cannot read it whole, in windows; no sentences."""
    return [text[start:end] for start, end in slide(text)] or [text]


def blocks(count: int) -> Iterator[tuple[int, int]]:
    """Cuts so many rows into ten stretches, as even as may be: first row, and one past the last."""
    cuts = np.linspace(0, count, min(_BLOCKS, count) + 1).astype(int)
    yield from ((int(a), int(b)) for a, b in itertools.pairwise(cuts) if a < b)


def nearest(queries: Vectors, vectors: Vectors) -> Vectors:
    """The cosine of each query to its nearest vector [n]."""
    found = np.full(len(queries), -1.0, dtype=np.float32)
    for start in range(0, len(queries), 512):  # a bounded matrix, however many rows there are
        found[start : start + 512] = (queries[start : start + 512] @ vectors.T).max(axis=1)
    return found
