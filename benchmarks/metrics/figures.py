"""What metrics share: a figure with its interval, and the judging of a case's answers.

An answer that was blocked is judged as it reads: it is what the client got. One that failed is not
judged, and lowers `n`. A likelihood that a system does not tell is never counted as anything: the
case is left out, `n` says how many are in, and `unscored` how many are not.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from benchmarks.leakage.case import Case
from benchmarks.leakage.evidence import Answered, Evidence
from benchmarks.result import Row
from benchmarks.roc import Interval
from benchmarks.statistics import interval_of_mean

KEPT, ALL = "kept", "all"  # the splits of figures of all that is to be kept, and of everything
Judge = Callable[[Case, str], float | None]  # None where a case has nothing that is judged
Values = list[tuple[Case, float]]


def is_forgotten(split: str) -> bool:
    """Whether a split holds what is to be forgotten: ``forget``, ``forget: level 2``."""
    return split.startswith("forget")


def is_kept(split: str) -> bool:
    """Whether a split is to be kept: neither forgotten, nor a stand-in for what was never seen."""
    return not is_forgotten(split) and not split.startswith("holdout")


def judged(held: Answered, judge: Judge, worst: bool) -> Values:
    """Judges each case by its answers.

    Args:
        held: The answers.
        judge: Of one answer to a case.
        worst: Of several answers to a case the highest value counts, for an attacker needs one;
            or else their mean.

    Returns:
        Each case that has an answer and something to judge, in order, with its value.
    """
    found = []
    for case, answers in zip(held.cases, held.answers, strict=True):
        texts = [answer.text for answer in answers if answer.state != "failed"]
        values = [value for text in texts if (value := judge(case, text)) is not None]
        if values:
            found.append((case, max(values) if worst else sum(values) / len(values)))
    return found


def answered_rows(evidence: Evidence, metric: str, judge: Judge, worst: bool) -> Iterator[Row]:
    """Yields the mean of each split and attack.

    Args:
        evidence: What was said.
        metric: What the value is.
        judge: Of one answer to a case.
        worst: Of several answers about what is forgotten, the highest value counts.
    """
    for (split, attack), held in evidence.answered.items():
        values = judged(held, judge, worst and is_forgotten(split))
        yield from mean_row(evidence, split, metric, values, attack)


def mean_row(
    evidence: Evidence, split: str, metric: str, values: Values, attack: str | None = None
) -> Iterator[Row]:
    """Yields the mean of some cases' values with its interval; nothing where there are none."""
    if values:
        numbers = [value for _, value in values]
        spread = interval_of_mean(numbers, groups_of(values), evidence.seed)
        mean = float(np.mean(numbers))
        yield row(evidence, split, metric, mean, len(values), attack, spread)


def row(
    evidence: Evidence,
    split: str,
    metric: str,
    value: float,
    n: int,
    attack: str | None = None,
    spread: Interval | None = None,
) -> Row:
    """Makes a figure, of six digits."""
    low, high = spread or (None, None)
    return Row(
        system=evidence.system,
        attack=attack,
        split=f"{evidence.suite.name}: {split}",
        metric=metric,
        value=_six(value),
        low=None if low is None else _six(low),
        high=None if high is None else _six(high),
        n=n,
    )


def groups_of(values: Values) -> list[str]:
    """Whose each case is."""
    return [case.group for case, _ in values]


def in_common(one: Values, other: Values) -> list[tuple[Case, float, float]]:
    """The cases that both have a value of, with both."""
    held = dict(other)
    return [(case, value, held[case]) for case, value in one if case in held]


def paired(rows: Sequence[tuple[Case, float, float]]) -> tuple[list[float], list[float], list[str]]:
    """Splits cases in common into the one's values, the other's, and the groups."""
    return [a for _, a, _ in rows], [b for _, _, b in rows], [case.group for case, _, _ in rows]


def _six(value: float) -> float:
    return float(f"{value:.6g}")
