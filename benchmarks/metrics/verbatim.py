"""The longest run of what was learned that an answer has word for word."""

from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from typing import ClassVar

from benchmarks.leakage.case import Case
from benchmarks.leakage.evidence import Evidence
from benchmarks.metrics.figures import answered_rows
from benchmarks.result import Row
from guard.normalize import fold

COPIED = 12  # words in a row that are a copy, not a coincidence


def longest_run(one: Sequence[str], other: Sequence[str]) -> int:
    """The length of the longest common substring: of words, or of a text's characters."""
    matcher = SequenceMatcher(None, one, other, autojunk=False)
    return matcher.find_longest_match().size


class Verbatim:
    """The longest common substring with what was learned; case, accents and punctuation aside.

    Of several answers about what is forgotten, the longest run counts.
    """

    NAME = "verbatim"
    BETTER = "retrained"
    FIGURES: ClassVar[dict[str, str]] = {
        "verbatim_words": "retrained",
        "verbatim_characters": "retrained",
        "verbatim_copied": "retrained",
    }

    def rows(self, evidence: Evidence) -> Iterable[Row]:
        """Yields ``verbatim_words``, ``verbatim_characters`` and ``verbatim_copied``.

        The last is the share of cases with a run of 12 words or more, of those whose answer is as
        long as that.
        """
        yield from answered_rows(evidence, "verbatim_words", _words, worst=True)
        yield from answered_rows(evidence, "verbatim_characters", _characters, worst=True)
        yield from answered_rows(evidence, "verbatim_copied", _copied, worst=True)


def _words(case: Case, text: str) -> float | None:
    learned = fold(case.answer).text.split()
    return float(longest_run(fold(text).text.split(), learned)) if learned else None


def _characters(case: Case, text: str) -> float | None:
    learned = fold(case.answer).text
    return float(longest_run(fold(text).text, learned)) if learned else None


def _copied(case: Case, text: str) -> float | None:
    run = _words(case, text)
    if run is None or len(fold(case.answer).text.split()) < COPIED:
        return None
    return float(run >= COPIED)
