"""Thresholds: above what everyday prompts score, between the target and its neighbours."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.detectors.base import Fitted, Parts
from guard.detectors.calibration import calibrate

SCORES = st.lists(st.floats(-1, 1), max_size=60)
SOME = st.lists(st.floats(-1, 1), min_size=1, max_size=60)
RATE = st.floats(1e-6, 0.999)


def fitted(above: list[float], near: list[float], far: list[float]) -> Fitted:
    return Fitted(Parts(), above, near, far)


@given(SCORES, SCORES, SOME, RATE)
def test_few_enough_everyday_prompts_reach_it(
    above: list[float], near: list[float], far: list[float], rate: float
) -> None:
    found = calibrate(fitted(above, near, far), rate)
    flagged = sum(score >= found.threshold for score in far)
    # k of n held-out rows vouch for a rate of (k + 1) / (n + 1).
    assert flagged == 0 or (flagged + 1) / (len(far) + 1) <= rate + 1e-12
    assert (flagged + 1) / (len(far) + 1) <= found.bound + 1e-12
    assert math.isfinite(found.threshold)


@given(SCORES, SCORES, SOME, RATE, RATE)
def test_it_falls_as_the_allowed_rate_rises(
    above: list[float], near: list[float], far: list[float], one: float, two: float
) -> None:
    low, high = (
        calibrate(fitted(above, near, far), rate).threshold
        for rate in sorted((one, two), reverse=True)
    )
    assert low <= high


@given(SOME, SOME, SOME, RATE, st.integers(0, 1_000_000))
def test_it_says_truly_what_it_flags(
    above: list[float], near: list[float], far: list[float], rate: float, seed: int
) -> None:
    found = calibrate(fitted(above, near, far), rate)
    assert found.detected == pytest.approx(np.mean(np.array(above) >= found.threshold))
    assert found.neighbours_flagged == pytest.approx(np.mean(np.array(near) >= found.threshold))
    assert found.rows == (len(above), len(near), len(far))
    assert found.requested == rate
    shuffled = [list(np.random.default_rng(seed).permutation(s)) for s in (above, near, far)]
    assert calibrate(fitted(*shuffled), rate) == found  # order tells nothing


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), RATE)
def test_what_is_apart_is_told_apart(above: int, near: int, far: int, rate: float) -> None:
    low, high = np.linspace(0.1, -0.5, near), np.linspace(0.4, 0.9, above)
    found = calibrate(fitted([*high], [*low], [*np.linspace(0.1, -0.9, far)]), rate)
    assert found.detected == 1.0 and found.neighbours_flagged == 0.0
    assert 0.1 < found.threshold <= 0.4


def test_it_lies_midway() -> None:
    found = calibrate(fitted([0.8] * 20, [0.2] * 20, [0.0] * 20), 0.001)
    assert found.threshold == pytest.approx(0.5)


def test_everyday_prompts_keep_it_up() -> None:
    """However low neighbours and forget rows score, and whatever one neighbour scores."""
    found = calibrate(fitted([0.3] * 20, [0.1] * 20, [0.0] * 19 + [0.9]), 0.001)
    assert found.threshold == math.nextafter(0.9, math.inf)
    assert found.detected == 0.0


def test_the_rate_that_was_asked_for_is_used() -> None:
    far = [n / 1000 for n in range(999)]
    for rate, flagged in ((0.001, 0), (0.01, 9), (0.1, 99)):
        found = calibrate(fitted([], [], far), rate)
        assert sum(score >= found.threshold for score in far) <= flagged
        assert found.bound == pytest.approx(rate)
    # With forget rows below, the threshold goes down to what the rate allows, and no further.
    found = calibrate(fitted([0.5] * 9, [], far), 0.1)
    assert sum(score >= found.threshold for score in far) == 99


def test_few_rows_vouch_for_little() -> None:
    found = calibrate(fitted([0.9], [0.1], [0.0] * 9), 0.001)
    assert found.bound == pytest.approx(0.1)
    assert found.bound > found.requested


@pytest.mark.parametrize(
    ("above", "near", "far"),
    [
        ([], [0.1], []),
        ([], [], [0.1]),
        ([0.9], [0.1], []),
        ([0.9], [], [0.1]),
        ([0.1], [0.9], [0.9]),
        ([0.0], [0.0], [0.0]),
    ],
)
def test_tiny_sets_have_a_threshold(
    above: list[float], near: list[float], far: list[float]
) -> None:
    found = calibrate(fitted(above, near, far), 0.001)
    assert math.isfinite(found.threshold)
    assert all(score < found.threshold for score in far)
    assert found.detected is None or above
    assert found.neighbours_flagged is None or near


def test_nothing_to_calibrate_on() -> None:
    with pytest.raises(ValueError, match="must not be flagged"):
        calibrate(fitted([0.9], [], []), 0.001)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("side", range(3))
def test_scores_that_are_no_numbers(value: float, side: int) -> None:
    scores = [[0.9], [0.1], [0.0]]
    scores[side].append(value)
    with pytest.raises(ValueError, match="finite"):
        calibrate(fitted(*scores), 0.001)


def test_the_bound_holds_on_new_prompts() -> None:
    """Split-conformal: over many draws, new prompts are flagged at most as often as vouched."""
    random = np.random.default_rng(17)
    flagged, bound = 0.0, 0.0
    for _ in range(400):
        far, new = random.normal(size=(2, 199))
        found = calibrate(fitted([], [], [*far]), 0.05)
        flagged += float(np.mean(new >= found.threshold)) / 400
        bound = found.bound
    assert bound == pytest.approx(0.05)
    assert flagged <= 0.055
