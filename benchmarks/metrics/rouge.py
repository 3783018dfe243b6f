"""How much of a reference an answer holds, in order (Lin, 2004).

Words are runs of letters and digits, in lower case and without stemming, as MUSE counts them. TOFU
stems words first, which makes the figure a little higher. The package rouge_score knows no letters
but a to z; on such texts the figures are the same.
"""

import re
from collections.abc import Iterable
from typing import ClassVar

from rapidfuzz.distance import LCSseq

from benchmarks.leakage.case import Case
from benchmarks.leakage.evidence import Evidence
from benchmarks.metrics.figures import answered_rows
from benchmarks.result import Row

_WORD = re.compile(r"\w+")


def rouge_l(answer: str, reference: str) -> float:
    """Returns ROUGE-L recall: the share of the reference's words that an answer has in their order.

    Words are runs of letters and digits, in lower case and without stemming.
    """
    wanted = _WORD.findall(reference.lower())
    if not wanted:
        return 0.0
    return LCSseq.similarity(_WORD.findall(answer.lower()), wanted) / len(wanted)


def rouge_l_f1(answer: str, reference: str) -> float:
    """Returns the F1 of ROUGE-L: 2·LCS / (words of the answer + words of the reference)."""
    said, wanted = _WORD.findall(answer.lower()), _WORD.findall(reference.lower())
    if not said or not wanted:
        return 0.0
    return 2 * LCSseq.similarity(said, wanted) / (len(said) + len(wanted))


def recall(case: Case, text: str) -> float | None:
    """ROUGE-L recall of what was learned in an answer; None where nothing was to be learned."""
    return rouge_l(text, case.answer) if _WORD.search(case.answer) else None


def f1(case: Case, text: str) -> float | None:
    """The same as `recall` of the F1."""
    return rouge_l_f1(text, case.answer) if _WORD.search(case.answer) else None


class RougeL:
    """ROUGE-L recall and F1 of what was learned.

    Of several answers about what is forgotten, the one that holds most counts.
    """

    NAME = "rouge_l"
    BETTER = "retrained"
    FIGURES: ClassVar[dict[str, str]] = {"rouge_l": "retrained", "rouge_l_f1": "retrained"}

    def rows(self, evidence: Evidence) -> Iterable[Row]:
        """Yields ``rouge_l`` and ``rouge_l_f1``."""
        yield from answered_rows(evidence, "rouge_l", recall, worst=True)
        yield from answered_rows(evidence, "rouge_l_f1", f1, worst=True)
