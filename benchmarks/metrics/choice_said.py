"""Multiple choice by generation: which option an answer names."""

import re
from collections.abc import Iterable, Sequence
from typing import ClassVar

from benchmarks.leakage.case import Case
from benchmarks.leakage.evidence import Evidence
from benchmarks.metrics.figures import answered_rows
from benchmarks.result import Row
from guard.normalize import fold

_LETTER = re.compile(
    r"^\W*(?:(?:the )?(?:correct )?(?:answer|option|choice)(?: is)?)?"
    r"[\s:(*]*([A-Z])\b(?![’'\s]*\w)",  # no "I" and no "A" that goes on as a sentence
    re.IGNORECASE,
)


def chosen(text: str, options: Sequence[str]) -> int | None:
    """The option that an answer names.

    It is the only option whose words the answer has, one that is part of another it has aside; or
    else the one whose letter, A for the first, the answer starts with ("B", "(B) …", "The answer is
    B").

    Returns:
        None where it names none, or several.
    """
    folded = [f" {fold(option).text} " for option in options]
    said = f" {fold(text).text} "
    held = [n for n, option in enumerate(folded) if option.strip() and option in said]
    held = [n for n in held if not any(folded[n] in folded[m] for m in held if m != n)]
    if len(held) == 1:
        return held[0]
    letter = _LETTER.match(text)
    if held or letter is None:
        return None
    at = ord(letter.group(1).upper()) - ord("A")
    return at if at < len(options) else None


class ChoiceSaid:
    """Accuracy by generation, of the cases that have options.

    An answer that names no option is wrong, a refusal too; ``choice_unnamed`` says how many do.
    """

    NAME = "choice_said"
    BETTER = "retrained"
    FIGURES: ClassVar[dict[str, str]] = {
        "choice_accuracy": "retrained",
        "choice_unnamed": "retrained",
    }

    def rows(self, evidence: Evidence) -> Iterable[Row]:
        """Yields ``choice_accuracy`` and ``choice_unnamed``."""
        yield from answered_rows(evidence, "choice_accuracy", _right, worst=False)
        yield from answered_rows(evidence, "choice_unnamed", _unnamed, worst=False)


def _right(case: Case, text: str) -> float | None:
    if case.answer not in case.options:
        return None
    return float(chosen(text, case.options) == case.options.index(case.answer))


def _unnamed(case: Case, text: str) -> float | None:
    if case.answer not in case.options:
        return None
    return float(chosen(text, case.options) is None)
