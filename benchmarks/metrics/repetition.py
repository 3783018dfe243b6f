"""Whether answers are language at all: how much they repeat themselves."""

from collections.abc import Iterable
from typing import ClassVar

from benchmarks.leakage.case import Case
from benchmarks.leakage.evidence import Evidence
from benchmarks.metrics.figures import answered_rows
from benchmarks.result import Row
from guard.normalize import fold


def distinct(text: str, n: int) -> float | None:
    """The share of a text's n-grams of words that are distinct (Li et al., arXiv 1510.03055).

    Returns:
        None where it has fewer words than that.
    """
    words = fold(text).text.split()
    grams = [tuple(words[at : at + n]) for at in range(len(words) - n + 1)]
    return len(set(grams)) / len(grams) if grams else None


class Repetition:
    """How much of what a system says is said again; answers that are too short are left out.

    ``repetition`` is one less the distinct 4-grams' share (seq-rep-4, Welleck et al., arXiv
    1908.04319), ``distinct_2`` the distinct 2-grams' share; `n` counts the answers in it.
    """

    NAME = "repetition"
    BETTER = "retrained"
    FIGURES: ClassVar[dict[str, str]] = {"repetition": "retrained", "distinct_2": "retrained"}

    def rows(self, evidence: Evidence) -> Iterable[Row]:
        """Yields ``repetition`` and ``distinct_2``."""
        yield from answered_rows(evidence, "repetition", _repetition, worst=False)
        yield from answered_rows(evidence, "distinct_2", _distinct, worst=False)


def _repetition(case: Case, text: str) -> float | None:
    found = distinct(text, 4)
    return None if found is None else 1 - found


def _distinct(case: Case, text: str) -> float | None:
    return distinct(text, 2)
