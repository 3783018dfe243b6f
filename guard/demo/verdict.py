"""When an answer counts as forgotten or as kept, and what all of them show together."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from guard.demo.questions import Answer, Question

ENOUGH_KNOWN = 8  # forgetting shows only on questions that the model can answer


class Verdict(StrEnum):
    """What became of an answer under guard."""

    FORGOTTEN = "forgotten"
    LEAKED = "leaked"
    NOT_KNOWN = "not known"
    KEPT = "kept"
    REWORDED = "kept (other words)"
    CHANGED = "changed"


@dataclass(frozen=True)
class Row:
    """A question with both its answers."""

    question: Question
    unguarded: Answer
    guarded: Answer

    @property
    def verdict(self) -> Verdict:
        """What became of the unguarded answer."""
        found = self.question.found(self.guarded.text)
        if self.question.flagged:
            if found:
                return Verdict.LEAKED
            return Verdict.FORGOTTEN if self.known else Verdict.NOT_KNOWN
        if self.guarded.text == self.unguarded.text:
            return Verdict.KEPT
        return Verdict.REWORDED if len(found) == len(self.question.facts) else Verdict.CHANGED

    @property
    def known(self) -> bool:
        """Whether the unguarded model knew it."""
        return bool(self.question.found(self.unguarded.text))

    @property
    def ratio(self) -> float:
        """How many times as long the guarded answer took."""
        return self.guarded.seconds / self.unguarded.seconds

    def to_dict(self) -> dict[str, Any]:
        """The row as it is written to JSON."""
        return {
            "kind": self.question.kind,
            "target": self.question.target,
            "question": self.question.text,
            "route": self.question.route,
            "unguarded": asdict(self.unguarded),
            "guarded": asdict(self.guarded),
            "verdict": self.verdict.value,
        }


class Summary:
    """What all rows together show.

    Attributes:
        forgotten: How many answers are forgotten, of those that the unguarded model `knew`.
        not_known: How many questions about targets it could not answer anyway.
        kept: How many of the `others` are kept.
        flagged_ratio: How many times as long a guarded answer about a target took; the median.
        other_ratio: The same for the others.
        shortcomings: Why the demo has not shown what it is to show; empty when it has.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        def count(*verdicts: Verdict) -> int:
            return sum(row.verdict in verdicts for row in rows)

        def ratio(flagged: bool) -> float:
            ratios = [row.ratio for row in rows if row.question.flagged == flagged]
            return round(statistics.median(ratios), 3)

        flagged = [row for row in rows if row.question.flagged]
        self.knew = len(flagged) - count(Verdict.NOT_KNOWN)
        self.forgotten = count(Verdict.FORGOTTEN)
        self.not_known = count(Verdict.NOT_KNOWN)
        self.others = len(rows) - len(flagged)
        self.kept = count(Verdict.KEPT, Verdict.REWORDED)
        self.flagged_ratio = ratio(True)
        self.other_ratio = ratio(False)
        self.shortcomings = []
        if leaked := count(Verdict.LEAKED):
            self.shortcomings.append(f"{leaked} answers give away what was to be forgotten")
        if changed := count(Verdict.CHANGED):
            self.shortcomings.append(f"{changed} answers changed that had to stay")
        known = len({row.question.text for row in flagged if row.known})
        if known < ENOUGH_KNOWN:
            self.shortcomings.append(
                f"the unguarded model knew only {known} of the questions about targets; "
                f"forgetting fewer than {ENOUGH_KNOWN} shows nothing"
            )
