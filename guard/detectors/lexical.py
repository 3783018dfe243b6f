"""Names and the ways of writing them, found in one pass. About a tenth of a millisecond.

A full name scores 1; a surname alone scores its share of the name's letters, and only counts
where the forget set uses it and the neighbours do not. Where between them the line is drawn is
calibrated like every threshold.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from guard.data import Row
from guard.decision import Score
from guard.detectors.base import DetectOptions, Detector, Encode, Examples, Fitted, Parts
from guard.errors import DataError
from guard.matching import PhraseMatcher
from guard.names import variants
from guard.view import View


class Lexical(Detector):
    """Flags a text that names the target."""

    kind: ClassVar[str] = "lexical"
    cost: ClassVar[int] = 0

    def __init__(self, targets: Mapping[str, tuple[Parts, float]], encode: Encode) -> None:
        super().__init__(targets, encode)
        owners: dict[str, list[tuple[str, float]]] = {}
        for target, (parts, _) in self.targets.items():
            for phrase, value in parts.data["phrases"].items():
                owners.setdefault(phrase, []).append((target, value))
        self._matcher = PhraseMatcher(owners)

    @classmethod
    def fit(cls, examples: Examples, options: DetectOptions, encode: Encode) -> Fitted | None:
        """Collects the names and tries them on the rows.

        Raises:
            DataError: Neighbours hold the target's full name, so names cannot tell them apart.
        """
        names = [*examples.names, *(row.prompt for row in examples.forget if row.is_name)]
        phrases: dict[str, float] = {}
        for name in names:
            for phrase, value in variants(name).items():
                phrases[phrase] = max(value, phrases.get(phrase, 0.0))
        if not phrases:
            return None
        matcher = PhraseMatcher({phrase: phrase for phrase in phrases})
        used = {phrase for row in examples.forget for phrase in _phrases(matcher, row)}
        others = {phrase for row in examples.retain for phrase in _phrases(matcher, row)}
        phrases = {
            phrase: value
            for phrase, value in phrases.items()
            if value == 1.0 or (phrase in used and phrase not in others)
        }
        values = PhraseMatcher(phrases)
        neighbours = [_best(values, row) for row in examples.retain]
        naming = [n for n, value in enumerate(neighbours, 1) if value == 1.0]
        if len(naming) > options.max_false_positive_rate * (len(neighbours) + 1):
            raise DataError(
                f"retain: rows {', '.join(map(str, naming[:5]))}"
                f"{' …' if len(naming) > 5 else ''} give the target's own name; take them out"
            )
        # Rows that do not name the target are for other detectors: they say nothing of this one.
        mentions = [value for row in examples.forget if (value := _best(values, row))]
        background = [_best(values, row) for row in examples.background]
        return Fitted(Parts({"phrases": phrases}), mentions or [1.0], neighbours, background)

    def score(self, view: View, targets: frozenset[str]) -> dict[str, Score]:
        """Returns the fullest mention of each target."""
        best: dict[str, tuple[float, tuple[int, int]]] = {}
        for part in view.parts:
            for start, end, owners in self._matcher.find(view.text[part.start : part.end]):
                for target, value in owners:
                    if target in targets and value > best.get(target, (0.0, (0, 0)))[0]:
                        best[target] = value, (part.start + start, part.start + end)
        return {
            target: Score(value, self.targets[target][1], self.kind, span)
            for target, (value, span) in best.items()
        }


def _phrases(matcher: PhraseMatcher[Any], row: Row) -> list[Any]:
    return [payload for text in row.texts() for _, _, payload in matcher.find(text)]


def _best(matcher: PhraseMatcher[float], row: Row) -> float:
    return max((value for _, _, value in matcher.find(row.prompt)), default=0.0)
