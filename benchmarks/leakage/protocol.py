"""What makes a comparison fair, checked rather than hoped for; `docs/evaluation.md` says why.

1. Nothing that is asked, nor a paraphrase of it, was there when a guard or an adapter was made. The
   forget rows themselves are what an operator has: a suite gives all that it asks of them, or none.
2. Teacher-forced scores are of clean answers, and no score of a token knows what comes after it.
3. The shares of blocked and of failed requests stand beside every figure.
4. A result says commit, seed, machine and versions, and is called full only if nothing is missing.

No message quotes a row: they are personal data.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from benchmarks.leakage.ask import Forced
from benchmarks.leakage.case import Case, Loaded
from benchmarks.leakage.separation import (
    ProtocolError,
    check,
    clean,
    forgotten,
    seen,
)
from benchmarks.leakage.systems.base import Running
from benchmarks.question import text_of
from benchmarks.result import Result, Row

__all__ = [
    "FULL",
    "SHARES",
    "ProtocolError",
    "check",
    "check_causal",
    "check_forced",
    "check_result",
    "check_shares",
    "clean",
    "extent",
    "forgotten",
    "seen",
]

SHARES = ("blocked", "failed")
FULL = "full"
_ALL = ": all"  # the split of a figure that is over all splits
_LOOKED_AT, _WORDS = 8, 6  # answers that are scored once more, cut, and the words that it takes
_TOLERANCE = 0.25  # nats; half-precision sums depend on what else is in a batch
_RELATIVE = 0.05  # the same, of the log-probability itself: unlikely tokens vary more


def check_forced(cases: Sequence[Case], forced: Iterable[Forced]) -> None:
    """Proves that what is scored are the cases' own answers, to their own questions.

    Raises:
        ProtocolError: A prompt or an answer is not a case's own, word for word.
    """
    known = {(text, case.passage) for case in cases for text in (case.question, case.paraphrased)}
    answers = {
        text for case in cases for text in (case.answer, case.right, *case.wrong, *case.options)
    }
    for one in forced:
        if (text_of(one.prompt), one.passage) not in known:
            raise ProtocolError("a likelihood is asked for after a prompt that no case has")
        if one.answer not in answers:
            raise ProtocolError("a likelihood is asked for of an answer that no case has")


def check_causal(running: Running, forced: Sequence[Forced], tolerance: float = _TOLERANCE) -> None:
    """Proves, from outside, that a system scores a token without knowing what comes after it.

    Each answer is scored once more cut to its first half: what both have in common must be as
    likely in either. A guard that judges or changes a prompt by the answer that is scored fails,
    but for a system that says that it `withholds` answers.

    What this cannot see is a change of the answer's own tokens that is the same each time. That
    ours makes none is shown by its own tests, against the likelihoods that transformers computes.

    Args:
        running: The system.
        forced: Answers; of those with six words or more, a few are looked at, spread over all.
        tolerance: How far two log-probabilities of one token may be apart, in nats, beside a
            twentieth of the log-probability itself.

    Raises:
        ProtocolError: It does know.
    """
    long = [one for one in forced if len(one.answer.split()) >= _WORDS]
    some = long[:: max(1, -(-len(long) // _LOOKED_AT))]
    halves = [_half(one) for one in some]
    scored = running.score([*some, *halves])
    for one, whole, half in zip(some, scored, scored[len(some) :], strict=False):
        if (whole is None) != (half is None) and not running.withholds:
            raise ProtocolError("whether a prompt is answered depends on the answer that is scored")
        if whole is None or half is None:
            continue
        # The half's last word may be cut into tokens otherwise, and an end token follows it.
        common = len(half) - (1 if one.passage else 2)
        for at in range(max(common, 0)):
            if abs(whole[at] - half[at]) <= tolerance + _RELATIVE * abs(whole[at]):
                continue
            raise ProtocolError("the likelihood of a token depends on what comes after it")


def check_shares(rows: Iterable[Row]) -> None:
    """Proves that the shares of blocked and failed requests stand beside every figure.

    A figure over all splits goes without: each of those has its own.

    Raises:
        ProtocolError: A system's figures of a split and attack lack one of them.
    """
    held: dict[tuple[str, str, str | None], set[str]] = {}
    for row in rows:
        if row.split is not None and not row.split.endswith(_ALL):  # costs are of no split
            held.setdefault((row.system, row.split, row.attack), set()).add(row.metric)
    for (system, split, attack), metrics in held.items():
        for share in SHARES:
            if share not in metrics:
                asked = "as it is" if attack is None else f"by {attack}"
                raise ProtocolError(
                    f"{system}, {split}, asked {asked}: there are figures without the share that "
                    f"is {share}"
                )


def extent(wanted: Sequence[str], loaded: Loaded, size: int | None, *, quick: bool = False) -> str:
    """Says how much was measured: ``full`` only where nothing is missing and nothing was cut.

    Args:
        wanted: The suites that a full run has.
        loaded: What was read, and what was not.
        size: The limit of cases, where there was one.
        quick: Whether it was a trial.
    """
    if quick:
        return "quick"
    had = [suite.name for suite in loaded.suites]
    whole = not loaded.missing and not any(suite.missing for suite in loaded.suites)
    if size is None and whole and set(wanted) <= set(had):
        return FULL
    cut = f", at most {size} of a split" if size is not None else ""
    return f"part: {', '.join(had) or 'none'}{cut}"


def check_result(
    result: Result, wanted: Sequence[str], loaded: Loaded, size: int | None, *, quick: bool = False
) -> None:
    """Proves that a result says where it comes from, and no more than was measured.

    Raises:
        ProtocolError: It does not.
    """
    check_shares(result.rows)
    for field in ("commit", "seed"):
        if getattr(result, field) is None:
            raise ProtocolError(f"the result does not say its {field}; run it from a checkout")
    for package in ("python", "transformers"):
        if package not in result.versions:
            raise ProtocolError(f"the result does not say its version of {package}")
    allowed = extent(wanted, loaded, size, quick=quick)
    if result.suite == FULL != allowed:
        raise ProtocolError(f"the result is called full, but is of this: {allowed}")


def _half(one: Forced) -> Forced:
    words = one.answer.split(" ")
    return replace(one, answer=" ".join(words[: len(words) // 2]))
