"""What is made of the log-probabilities of a teacher-forced answer.

A token that a system cannot say has a log-probability of minus infinity; all of these take that.
"""

import math
from collections.abc import Sequence

from benchmarks.leakage.ask import Likelihood
from benchmarks.leakage.evidence import Scored

# Stands where a probability of nothing would divide by nothing (open-unlearning's).
TINY = 1e-10


def normalised(logs: Sequence[float]) -> float:
    """P(a | q)^(1 / |a|) of an answer a (TOFU, arXiv 2401.06121, section 2.2.1).

    Args:
        logs: The log-probability of each of its tokens, in nats.

    Raises:
        ValueError: The answer has no tokens.
    """
    return math.exp(mean(logs))


def mean(logs: Sequence[float]) -> float:
    """The mean log-probability of a token, in nats: the loss, negated.

    Raises:
        ValueError: There are no tokens.
    """
    if not logs:
        raise ValueError("an answer without tokens has no likelihood")
    return sum(logs) / len(logs)


def right_of(scored: Scored, index: int) -> Likelihood:
    """The likelihood of a case's answer in other words, or of the answer where it has no other.

    Never of the answer as it was learned where there is another: wrong answers are worded like it.
    """
    if scored.cases[index].right is None:
        return scored.answer[index]
    return scored.right[index] if scored.right else None


def wrong_of(scored: Scored, index: int) -> tuple[tuple[float, ...], ...] | None:
    """The likelihoods of a case's wrong answers.

    Returns:
        None where the case has none, or the system does not tell all of them.
    """
    held = scored.wrong[index] if scored.wrong else ()
    told = tuple(logs for logs in held if logs)
    return told if held and len(told) == len(held) else None
