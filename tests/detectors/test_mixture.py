"""The soft weight: O3's formula by hand, and its shape."""

import json
import math
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.detectors.mixture import SoftWeight

FAR = 1 / (1 + math.exp(2))  # sigmoid(-2)
SURE = 1 / (1 + math.exp(-8))  # sigmoid(10 - 2)
SOFT = SoftWeight(means=(4.0, 2.0), deviations=(0.5, 1.0))

scores = st.floats(-1e6, 1e6)


def test_the_weight_is_that_of_the_hand_calculation() -> None:
    # x0 = 3; a score of 1.5 is mirrored at 4.5.
    one, two = NormalDist(4, 0.5), NormalDist(2, 1)
    below = (one.cdf(1.5) + two.cdf(1.5)) / 2
    above = (one.cdf(4.5) + two.cdf(4.5)) / 2
    p = 1 - (above - below)
    assert SOFT(1.5) == pytest.approx(1 / (1 + math.exp(-(10 * p - 2))))
    assert 0.15 < SOFT(1.5) < 0.9


def test_forget_rows_weigh_one_and_what_is_far_weighs_little() -> None:
    assert SOFT(3.0) == SOFT(4.0) == SOFT(99.0) == pytest.approx(SURE)
    assert SOFT(2.0) > 0.8  # a typical held-out row
    assert SOFT(-5.0) == pytest.approx(FAR, abs=1e-6)


def test_fitting_takes_the_moments_of_both_lists() -> None:
    fitted = SoftWeight.fit([3.0, 5.0], [0.0, 1.0, 2.0])
    assert fitted.means == (4.0, 1.0)
    assert list(fitted.deviations) == pytest.approx([1.0, math.sqrt(2 / 3)])
    assert SoftWeight.from_dict(json.loads(json.dumps(fitted.to_dict()))) == fitted


@pytest.mark.parametrize("seen, held_out", [([], [1.0]), ([1.0], []), ([math.nan], [1.0])])
def test_scores_that_say_nothing_are_refused(seen: list[float], held_out: list[float]) -> None:
    with pytest.raises(ValueError, match="finite scores of both kinds"):
        SoftWeight.fit(seen, held_out)


@given(st.lists(scores, min_size=1), st.lists(scores, min_size=1), scores, scores)
def test_weights_rise_with_the_score_and_stay_within_bounds(
    seen: list[float], held_out: list[float], one: float, two: float
) -> None:
    soft = SoftWeight.fit(seen, held_out)
    low, high = soft(min(one, two)), soft(max(one, two))
    assert FAR - 1e-9 <= low <= high + 1e-9
    assert high <= SURE + 1e-9
