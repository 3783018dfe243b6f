"""Names and the ways of writing them, found in one pass. Under a tenth of a millisecond.

A full name scores 1; a surname alone scores its share of the name's letters, and only counts
where the forget set uses it and the neighbours do not. So it is with names and titles mined from
the forget set, which nobody vouched for. A name misspelt or in another script scores by how much
of it is right. Where between them the line is drawn is calibrated like every threshold.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import ClassVar, Generic, TypeVar

from guard.data import Row
from guard.decision import Score
from guard.detectors.base import (
    DetectOptions,
    Detector,
    Encode,
    Examples,
    Fitted,
    Parts,
    Placed,
)
from guard.errors import DataError
from guard.frequency import ordinary_near
from guard.matching import PhraseMatcher
from guard.mining import Mined
from guard.misspelling import Misspellings
from guard.names import variants
from guard.near import NearMatcher
from guard.normalize import Folded, fold
from guard.view import View

T = TypeVar("T")

_MINED = 0.9  # a full name that was not given


class Lexical(Detector):
    """Flags a text that names the target."""

    kind: ClassVar[str] = "lexical"
    cost: ClassVar[int] = 0
    midway: ClassVar[bool] = True

    def __init__(
        self, targets: Mapping[str, Placed], encode: Encode, shared: Parts | None = None
    ) -> None:
        super().__init__(targets, encode, shared)
        owners: dict[str, list[tuple[str, float]]] = {}
        ordinary: dict[str, bool] = {}
        self._kept: dict[str, _Kept] = {}
        for target, placed in self.targets.items():
            data = placed.parts.data
            for phrase, value in data["phrases"].items():
                owners.setdefault(phrase, []).append((target, value))
            ordinary |= data["ordinary"]  # of the language: what another target says of a word too
            self._kept[target] = _Kept(frozenset(data["exact"]), frozenset(data["said"]))
        self._reader = _Reader({phrase: (phrase, who) for phrase, who in owners.items()}, ordinary)

    @classmethod
    def fit(
        cls,
        examples: Examples,
        options: DetectOptions,
        encode: Encode,
        shared: Parts | None = None,
    ) -> Fitted | None:
        """Collects the names and tries them on the rows.

        Raises:
            DataError: Neighbours hold the target's full name, so names cannot tell them apart.
        """
        names = _Names(examples)
        if not names.values:
            return None
        others = (*examples.retain, *examples.background)
        ordinary = names.ordinary()
        held = _Reader({form: form for form in names.values}, ordinary)
        kept = _Kept(names.exact, names.said(2))
        scores = [
            _best(held, kept, row, partial(names.value_without_other, row=row)) for row in others
        ]
        neighbours, background = scores[: len(examples.retain)], scores[len(examples.retain) :]
        naming = [n for n, value in enumerate(neighbours, 1) if value == 1.0]
        if len(naming) > options.max_false_positive_rate * (len(neighbours) + 1):
            raise DataError(
                f"retain: rows {', '.join(map(str, naming[:5]))}"
                f"{' …' if len(naming) > 5 else ''} give the target's own name; take them out"
            )
        phrases = names.kept()
        reader, kept = _Reader({form: form for form in phrases}, ordinary), names.kept_words()
        positives = [
            _best(reader, kept, row, partial(names.value_without, row=n)) or math.nan
            for n, row in enumerate(examples.forget)
        ]
        parts = Parts(
            {
                "phrases": phrases,
                "ordinary": ordinary,
                "exact": sorted(kept.exact.intersection(phrases)),
                "said": sorted(kept.said),
            }
        )
        return Fitted(parts, positives, neighbours, background)

    def score(self, view: View, targets: frozenset[str]) -> dict[str, Score]:
        """Returns the fullest mention of each target."""
        best: dict[str, tuple[float, tuple[int, int]]] = {}
        for part in view.parts:
            text = view.text[part.start : part.end]
            for start, end, (phrase, owners), right in self._reader.find(text):
                for target, share in owners:
                    if right < 1 and self._kept[target].denies(phrase, text[start:end]):
                        continue
                    value = share * right
                    if target in targets and value > best.get(target, (0.0, (0, 0)))[0]:
                        best[target] = value, (part.start + start, part.start + end)
        return {
            target: self.targets[target].score(value, self.kind, span)
            for target, (value, span) in best.items()
        }


@dataclass(frozen=True)
class _Kept:
    """What is near a name and none.

    Attributes:
        exact: Phrases that count as they are written only. A single word that nobody vouched for
            is one: many a family is called something that one letter makes of it.
        said: Words of the rows to be kept.
    """

    exact: frozenset[str]
    said: frozenset[str]

    def denies(self, phrase: str, text: str) -> bool:
        """Whether a text that is near a phrase does not stand for it."""
        return phrase in self.exact or not self.said.isdisjoint(fold(text).text.split())


class _Reader(Generic[T]):
    """Finds phrases as they are written, misspelt or in another script."""

    def __init__(self, phrases: Mapping[str, T], ordinary: Mapping[str, bool]) -> None:
        self._exact = PhraseMatcher(phrases)
        self._near = NearMatcher(phrases, ordinary)

    def find(self, text: str | Folded) -> Iterator[tuple[int, int, T, float]]:
        """Yields each match: start, end, payload and the share of its letters that are right."""
        folded = fold(text) if isinstance(text, str) else text
        for start, end, payload in self._exact.find(folded):
            yield start, end, payload, 1.0
        yield from self._near.find(folded)


class _Names:
    """The ways of writing a target's names, and which rows speak for and against each.

    Attributes:
        values: Each form's score, before the neighbours are asked.
    """

    def __init__(self, examples: Examples) -> None:
        given = [*examples.names, *(row.prompt for row in examples.forget if row.is_name)]
        self._mined = Mined(examples.forget)
        self.values = dict.fromkeys(self._mined.forms, _MINED)
        self._given: dict[str, float] = {}
        for name in given:
            for form, value in variants(name).items():
                self._given[form] = max(value, self._given.get(form, 0.0))
        self.values |= self._given
        self._matcher = PhraseMatcher({form: form for form in self.values})
        self._forget = [self._forms(row) for row in examples.forget]
        self._used = Counter(form for forms in self._forget for form in forms)
        others = (*examples.retain, *examples.background)
        self._said = Counter(form for row in others for form in self._forms(row))
        self._words = Counter(
            word
            for row in others
            for word in {word for text in row.texts() for word in _folded(text).text.split()}
        )

    def _forms(self, row: Row) -> frozenset[str]:
        texts = map(_folded, row.texts())
        return frozenset(form for text in texts for *_, form in self._matcher.find(text))

    def kept(self) -> dict[str, float]:
        """Returns the forms that count, each with its score."""
        return {form: value for form in self.values if (value := self._value(form))}

    def value_without(self, form: str, row: int) -> float:
        """Scores a form as if a forget row had not been there."""
        mine = form in self._forget[row]
        if form not in self._given and not self._mined.without(row, form):
            return 0.0
        return self._value(form, used=self._used[form] - mine)

    def value_without_other(self, form: str, row: Row) -> float:
        """Scores a form as if a row that must not be flagged had not been there."""
        return self._value(form, said=self._said[form] - (form in self._forms(row)))

    def _value(self, form: str, used: int | None = None, said: int | None = None) -> float:
        """Scores a form, given how many forget rows use it and how many others do."""
        if self._given.get(form) == 1.0:
            return 1.0
        used = self._used[form] if used is None else used
        said = self._said[form] if said is None else said
        alone = form in self._given and not used  # a surname by which the forget set never calls
        return 0.0 if said or alone else self.values[form]

    @property
    def exact(self) -> frozenset[str]:
        """The forms that count as they are written only."""
        return frozenset(f for f in self.values if f not in self._given and " " not in f)

    def ordinary(self) -> dict[str, bool]:
        """Returns the ordinary words that come near a name's; see `ordinary_near`."""
        known = {word for form in self.values for word in form.split()}
        found = {word: common for each in known for word, common in ordinary_near(each).items()}
        return dict(sorted(found.items()))

    def said(self, rows: int = 1) -> frozenset[str]:
        """Returns the words near a name's that so many of the rows to be kept say."""
        near = Misspellings({word for form in self.values for word in form.split()})
        return frozenset(
            word for word, count in self._words.items() if count >= rows and near.near(word)
        )

    def kept_words(self) -> _Kept:
        """Returns what is near a name and none, with every row there."""
        return _Kept(self.exact, self.said())


def _best(reader: _Reader[str], kept: _Kept, row: Row, value: Callable[[str], float]) -> float:
    found = reader.find(_folded(row.prompt))
    return max(
        (
            value(form) * right
            for start, end, form, right in found
            if right == 1 or not kept.denies(form, row.prompt[start:end])
        ),
        default=0.0,
    )


@lru_cache(maxsize=16_384)  # of rows, at compile time: targets share the everyday prompts
def _folded(text: str) -> Folded:
    return fold(text)
