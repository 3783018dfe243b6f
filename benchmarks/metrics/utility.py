"""How much of all that is to be kept a system still knows (TOFU, arXiv 2401.06121, 2.2.1)."""

from collections.abc import Iterable, Sequence
from typing import ClassVar

import numpy as np

from benchmarks.leakage.case import Case
from benchmarks.leakage.evidence import Evidence, Scored
from benchmarks.metrics.figures import KEPT, is_kept, judged, row
from benchmarks.metrics.likelihoods import normalised, wrong_of
from benchmarks.metrics.probability import probabilities
from benchmarks.metrics.rouge import recall
from benchmarks.metrics.truth_ratio import geometric_truth_ratio, ratios
from benchmarks.result import Row
from benchmarks.statistics import Indices, interval

NEIGHBOURS = "retain"
_NAN = float("nan")


def choice(right: float, wrong: Sequence[float]) -> float:
    """The share of a right answer among the answers that are offered.

    Args:
        right: Its probability.
        wrong: Those of the wrong ones.
    """
    return right / (right + sum(wrong)) if right > 0 else 0.0


def utility(parts: Sequence[float]) -> float:
    """The harmonic mean of probabilities, ROUGE scores and truth ratios; 0 where one of them is."""
    values = np.asarray(parts, dtype=np.float64)
    return float(len(values) / np.sum(1 / values)) if (values > 0).all() else 0.0


class ModelUtility:
    """The harmonic mean of three figures of each set that is to be kept.

    They are the probability of the answer (among the answers offered, where it is no set of
    neighbours), ROUGE-L recall, and 1 − truth ratio (at least 0; geometric, as open-unlearning
    computes it). TOFU has three such sets, and so nine figures; a set without wrong answers has no
    truth ratio, and ``utility_parts`` says how many figures there were.
    """

    NAME = "utility"
    BETTER = "higher"
    FIGURES: ClassVar[dict[str, str]] = {"model_utility": "higher", "utility_parts": "higher"}

    def rows(self, evidence: Evidence) -> Iterable[Row]:
        """Yields ``model_utility`` and ``utility_parts``; the split is ``kept``."""
        sets = [_figures(evidence, split) for split in _splits(evidence)]
        held = [(cases, values) for cases, values in sets if cases]
        if not held:
            return

        def figure(drawn: Sequence[Indices]) -> float | None:
            parts = [
                float(np.nanmean(column[at]))
                for (_, values), at in zip(held, drawn, strict=True)
                for column in values.T
                if not np.isnan(column[at]).all()
            ]
            return utility(parts) if parts else None

        whole = [np.arange(len(cases)) for cases, _ in held]
        value = figure(whole)
        groups = [[case.group for case in cases] for cases, _ in held]
        n = sum(map(len, groups))
        if value is not None:
            spread = interval(figure, groups, evidence.seed)
            yield row(evidence, KEPT, "model_utility", value, n, spread=spread)
            count = sum(int((~np.isnan(values)).any(axis=0).sum()) for _, values in held)
            yield row(evidence, KEPT, "utility_parts", count, n)


def _splits(evidence: Evidence) -> list[str]:
    """Neighbours, and the sets of questions whose answers can be told from wrong ones."""
    return [
        split
        for split, cases in evidence.suite.splits.items()
        if split == NEIGHBOURS or (is_kept(split) and any(case.wrong for case in cases))
    ]


def _figures(
    evidence: Evidence, split: str
) -> tuple[list[Case], np.ndarray[tuple[int, int], np.dtype[np.float64]]]:
    """The cases of a split, and of each its three figures; not a number where there is none."""
    scored, held = evidence.scored.get(split), evidence.answered.get((split, None))
    parts: list[dict[Case, float]] = [{}, {}, {}]
    if scored is not None:
        near = split == NEIGHBOURS
        parts[0] = dict(probabilities(scored)) if near else _chosen(scored)
        known = ratios(scored, geometric_truth_ratio)
        parts[2] = {case: max(0.0, 1 - ratio) for case, ratio in known}
    if held is not None:
        parts[1] = dict(judged(held, recall, worst=False))
    cases = list(dict.fromkeys(case for part in parts for case in part))
    values = [[part.get(case, _NAN) for part in parts] for case in cases]
    return cases, np.array(values, dtype=np.float64).reshape(len(cases), len(parts))


def _chosen(scored: Scored) -> dict[Case, float]:
    """The share of each case's answer among the answers offered."""
    found = {}
    for index, (case, logs) in enumerate(zip(scored.cases, scored.answer, strict=True)):
        wrong = wrong_of(scored, index)
        if logs and wrong:
            found[case] = choice(normalised(logs), [normalised(one) for one in wrong])
    return found
