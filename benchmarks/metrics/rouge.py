"""How much of a reference an answer holds, in order (Lin, 2004)."""

import re

from rapidfuzz.distance import LCSseq

_WORD = re.compile(r"\w+")


def rouge_l(answer: str, reference: str) -> float:
    """Returns ROUGE-L recall: the share of the reference's words that an answer has in their order.

    Words are runs of letters and digits, in lower case and without stemming.
    """
    wanted = _WORD.findall(reference.lower())
    if not wanted:
        return 0.0
    return LCSseq.similarity(_WORD.findall(answer.lower()), wanted) / len(wanted)
