"""Thresholds: above what everyday prompts score, between the target and its neighbours."""

import json
import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from guard.detectors.calibration import (
    Calibration,
    calibrate,
    floor_for,
    needed,
    upper_limit,
)
from guard.errors import DataError

SCORE = st.floats(-1, 1)
SETTLED = SCORE | st.sampled_from([math.inf, -math.inf])
SCORES = st.lists(SCORE, max_size=60)
SOME = st.lists(SCORE, min_size=1, max_size=60)
RATE = st.floats(0.02, 0.999)
MIDWAY = st.booleans()


def found(
    above: list[float], near: list[float], far: list[float], rate: float, midway: bool = False
) -> Calibration:
    sides = (np.array(scores, dtype=np.float64) for scores in (above, near, far))
    return calibrate(*sides, rate, midway)


def everyday(
    rate: float, score: st.SearchStrategy[float] = SCORE
) -> st.SearchStrategy[list[float]]:
    return st.lists(score, min_size=needed(rate), max_size=needed(rate) + 40)


# The rate of everyday prompts.


@given(st.data(), SCORES, SCORES, RATE, MIDWAY)
def test_few_enough_everyday_prompts_reach_it(
    data: st.DataObject, above: list[float], near: list[float], rate: float, midway: bool
) -> None:
    far = data.draw(everyday(rate))
    it = found(above, near, far, rate, midway)
    flagged = sum(score >= it.threshold for score in far)
    # k of n held-out rows vouch for a rate of (k + 1) / (n + 1).
    assert (flagged + 1) / (len(far) + 1) <= rate + 1e-9
    assert (flagged + 1) / (len(far) + 1) <= it.bound + 1e-9
    assert it.bound <= rate + 1e-9
    assert it.bound <= it.upper <= 1
    assert math.isfinite(it.threshold)


@given(st.data(), SCORES, SCORES, st.floats(0.2, 0.999), st.floats(0.2, 0.999), MIDWAY)
def test_it_falls_as_the_allowed_rate_rises(
    data: st.DataObject, above: list[float], near: list[float], one: float, two: float, midway: bool
) -> None:
    strict, loose = sorted((one, two))
    far = data.draw(everyday(strict))
    assume((len(near) >= needed(strict)) == (len(near) >= needed(loose)))
    low = found(above, near, far, loose, midway).threshold
    assert low <= found(above, near, far, strict, midway).threshold


@given(st.data(), SCORES, SCORES, RATE, MIDWAY)
def test_it_says_truly_what_it_flags(
    data: st.DataObject, above: list[float], near: list[float], rate: float, midway: bool
) -> None:
    far = data.draw(everyday(rate, SETTLED))
    it = found(above, near, far, rate, midway)
    for scores, share in ((above, it.detected), (near, it.neighbours_flagged)):
        if scores:
            assert share == pytest.approx(np.mean(np.array(scores) >= it.threshold))
        else:
            assert share is None
    assert it.rows == (len(above), len(near), len(far))
    assert it.requested == rate
    assert math.isfinite(it.scale) and it.scale > 0
    seed = data.draw(st.integers(0, 2**32))
    shuffled = [list(np.random.default_rng(seed).permutation(s)) for s in (above, near, far)]
    again = found(*shuffled, rate, midway)
    assert again.threshold == it.threshold and again.to_dict().keys() == asdict(it).keys()


@given(st.data(), RATE)
def test_what_earlier_stages_flagged_is_spent(data: st.DataObject, rate: float) -> None:
    """The rate is that of all stages together, and what is flagged is flagged already."""
    far = data.draw(everyday(rate, SETTLED))
    it = found([], [], far, rate)
    spent = sum(score == math.inf for score in far)
    flagged = sum(score >= it.threshold for score in far)
    allowed = math.floor(rate * (len(far) + 1) + 1e-9) - 1
    assert spent <= flagged <= max(allowed, spent)
    assert it.bound == pytest.approx((max(allowed, spent) + 1) / (len(far) + 1))
    assert it.upper == upper_limit(max(allowed, spent), len(far))


def test_where_everything_was_dismissed_any_score_is_more_than_was_seen() -> None:
    it = found([0.5], [], [-math.inf] * 99, 0.01)
    assert math.isfinite(it.threshold) and it.threshold < -1e300
    assert it.detected == 1.0
    assert found([0.5], [0.25] * 9, [-math.inf] * 99, 0.01).threshold > 0.25  # neighbours count


def test_where_the_rate_is_spent_nothing_that_was_kept_is_flagged() -> None:
    far = [math.inf] * 5 + [0.9] + [0.0] * 93
    it = found([], [], far, 0.01)
    assert it.threshold == math.nextafter(0.9, math.inf)
    assert it.bound == pytest.approx(0.06) and it.bound > it.requested


def test_the_rate_that_was_asked_for_is_used() -> None:
    far = [n / 1000 for n in range(999)]
    for rate, flagged in ((0.001, 0), (0.01, 9), (0.1, 99)):
        it = found([], [], far, rate, midway=False)
        assert sum(score >= it.threshold for score in far) <= flagged
        assert it.bound == pytest.approx(rate)
    # With neighbours and forget rows below, it goes down to what the rate allows, and no further.
    it = found([-0.5] * 9, [-1.0] * 9, far, 0.1)
    assert sum(score >= it.threshold for score in far) == 99


# What new prompts do.


@pytest.mark.parametrize(("count", "rate"), [(99, 0.01), (150, 0.02), (399, 0.05), (60, 0.1)])
def test_the_bound_holds_on_new_prompts(count: int, rate: float) -> None:
    """Split-conformal: over many draws, new prompts are flagged as often as vouched, no more."""
    flagged, bounds, beyond = [], set(), 0
    for seed in range(600):
        random = np.random.default_rng(seed)
        far = random.normal(size=count)
        it = calibrate(np.zeros(0), np.full(5, -9.0), far, rate)
        truth = float(stats.norm.sf(it.threshold))  # what a new prompt is flagged with
        flagged.append(truth)
        bounds.add(it.bound)
        beyond += truth > it.upper
    (bound,) = bounds
    error = 3 * np.std(flagged) / np.sqrt(len(flagged))
    assert bound <= rate + 1e-9
    assert np.mean(flagged) <= bound + error
    assert np.mean(flagged) >= bound - error  # and none of it is wasted
    assert beyond / len(flagged) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / len(flagged))


def test_the_true_rate_is_distributed_as_vovk_says() -> None:
    count, rate = 199, 0.05
    k = math.floor(rate * (count + 1))
    truths = []
    for seed in range(800):
        far = np.random.default_rng(seed).uniform(size=count)
        it = calibrate(np.zeros(0), np.full(3, -9.0), far, rate)
        truths.append(1 - it.threshold)
        assert it.upper == pytest.approx(stats.beta.ppf(0.95, k, count + 1 - k))
    assert stats.kstest(truths, stats.beta(k, count + 1 - k).cdf).pvalue > 0.001


def test_neighbours_enough_for_the_rate_are_flagged_at_it() -> None:
    shares = []
    for seed in range(400):
        random = np.random.default_rng(seed)
        near, far = random.normal(size=300), random.normal(-5, 1, size=99)
        it = calibrate(random.normal(-9, 1, size=20), near, far, 0.05)
        shares.append(float(stats.norm.sf(it.threshold)))
    assert np.mean(shares) == pytest.approx(0.05, abs=0.005)


# Neighbours.


@given(st.integers(1, 8), st.integers(1, 40), st.integers(0, 40), MIDWAY)
def test_what_is_apart_is_told_apart(above: int, near: int, far: int, midway: bool) -> None:
    low, high = np.linspace(0.1, -0.5, near), np.linspace(0.4, 0.9, above)
    everyday = np.linspace(0.1, -0.9, 99 + far)
    it = calibrate(high, low, everyday, 0.01, midway)
    assert it.detected == 1.0 and it.neighbours_flagged == 0.0
    assert 0.1 < it.threshold <= 0.4


def test_with_few_neighbours_it_lies_where_both_sides_err_alike() -> None:
    """The further a side is spread, the further it lies from it, in deviations alike."""
    random = np.random.default_rng(3)
    above, near = random.normal(0.8, 0.1, size=90), random.normal(0.2, 0.05, size=90)
    it = calibrate(above, near, np.zeros(999), 0.001)
    missed, flagged = (
        (above.mean() - it.threshold) / above.std(),
        (it.threshold - near.mean()) / near.std(),
    )
    assert missed == pytest.approx(flagged)
    assert it.threshold == pytest.approx(0.4, abs=0.03)


@given(SOME, SOME)
def test_with_few_neighbours_it_lies_between_the_sides(
    above: list[float], near: list[float]
) -> None:
    assume(np.mean(near) + 0.01 < np.mean(above) and len(near) < 99)
    it = found(above, near, [-2.0] * 99, 0.01)
    if len(above) > 1 and len(near) > 1 and np.std(above) > 1e-6 and np.std(near) > 1e-6:
        assert np.mean(near) <= it.threshold <= np.mean(above)


def test_sides_without_spread_are_parted_midway() -> None:
    for above, near in (([0.75], [0.25]), ([0.75] * 20, [0.25] * 20), ([0.75], [0.25] * 20)):
        assert found(above, near, [0.0] * 99, 0.01).threshold == pytest.approx(0.5)


def test_with_many_neighbours_they_say_where_it_lies() -> None:
    near = [0.25] * 99
    assert found([0.75] * 20, near, [0.0] * 99, 0.01).threshold == math.nextafter(0.25, math.inf)
    assert found([0.75] * 20, near, [0.0] * 99, 0.01, midway=True).threshold == pytest.approx(0.5)


def test_without_neighbours_everyday_prompts_stand_for_them() -> None:
    it = found([0.75] * 20, [], [0.25] * 99, 0.01)
    assert it.threshold == pytest.approx(0.5)
    assert it.neighbours_flagged is None


def test_without_forget_rows_it_lies_above_the_neighbours() -> None:
    it = found([], [0.4] * 9, [0.0] * 99, 0.01)
    assert it.threshold == math.nextafter(0.4, math.inf)
    assert it.detected is None


def test_everyday_prompts_keep_it_up() -> None:
    """However low neighbours and forget rows score."""
    it = found([0.3] * 20, [0.1] * 20, [0.0] * 98 + [0.9], 0.01)
    assert it.threshold == math.nextafter(0.9, math.inf)
    assert it.detected == 0.0


def test_single_rows_at_the_edge_do_not_decide() -> None:
    above, near = [0.8] * 99 + [-5.0], [0.2] * 99 + [0.79]
    it = found(above, near, [0.0] * 999, 0.001, midway=True)
    assert it.threshold == pytest.approx(0.5, abs=0.01)


def test_exactly_enough_neighbours_are_all_kept() -> None:
    """Whatever the last bit of a rate is."""
    for count in range(1, 1500):
        near, far = np.linspace(-1, 1, count), np.full(count, -2.0)
        it = calibrate(np.zeros(0), near, far, 1 / (count + 1))
        assert it.neighbours_flagged == 0.0, count


@given(SOME, st.floats(0.001, 0.999))
def test_a_lax_rate_asks_for_no_more_than_the_lowest_neighbour(
    near: list[float], rate: float
) -> None:
    assume(len(near) >= needed(rate))
    far = [-2.0] * (needed(rate) + 1)
    it = found([], near, far, rate)
    assert it.threshold <= math.nextafter(max(near), math.inf)
    if (len(near) + 1) * (1 - rate) <= 1:
        assert it.neighbours_flagged == pytest.approx(np.mean(np.array(near) > min(near)), abs=1e-9)


# What it refuses.


@given(st.floats(0.001, 0.999))
def test_needed_is_the_fewest_that_can_vouch(rate: float) -> None:
    count = needed(rate)
    assert 1 / (count + 1) <= rate + 1e-9
    assert count == 1 or 1 / count > rate - 1e-9
    found([], [], [0.0] * count, rate)
    if count:
        with pytest.raises(DataError, match="everyday prompts cannot vouch"):
            found([], [], [0.0] * (count - 1), rate)


@pytest.mark.parametrize(("rate", "count"), [(0.001, 999), (0.01, 99), (0.02, 49), (0.5, 1)])
def test_how_many_are_needed(rate: float, count: int) -> None:
    assert needed(rate) == count


def test_too_few_everyday_prompts_are_refused_with_a_mend() -> None:
    with pytest.raises(DataError) as caught:
        found([0.9], [0.1], [0.0] * 150, 0.001)
    assert str(caught.value) == (
        "150 everyday prompts cannot vouch for a false-positive rate of 0.001: it needs 999; "
        "give more with 'background', or ask for a rate of 0.00663 or more"
    )
    found([0.9], [0.1], [0.0] * 150, 0.00663)  # what it says to do, helps


@given(st.integers(1, 3000))
def test_the_rate_that_it_offers_will_do(count: int) -> None:
    with pytest.raises(DataError) as caught:
        found([], [], [0.0] * count, 0.9 / (count + 2))
    offered = float(str(caught.value).split("a rate of ")[1].split(" or more")[0])
    assume(offered < 1)
    assert found([], [], [0.0] * count, offered).bound <= offered + 1e-9


@pytest.mark.parametrize("side", range(3))
def test_scores_that_are_no_numbers(side: int) -> None:
    scores = [[0.9], [0.1], [0.0] * 99]
    scores[side].append(math.nan)
    with pytest.raises(ValueError, match="numbers"):
        found(*scores, 0.01)


def test_what_the_bundle_keeps_is_json() -> None:
    it = found([0.8] * 3, [0.2] * 3, [0.0] * 99, 0.01)
    assert json.loads(json.dumps(it.to_dict())) == it.to_dict()
    assert it.to_dict()["rows"] == [3, 3, 99]


# The unit in which detectors are compared.


def test_an_everyday_prompt_lies_one_unit_below() -> None:
    far = np.random.default_rng(5).normal(0.1, 0.02, size=99)
    it = calibrate(np.full(9, 0.9), np.full(9, 0.3), far, 0.01)
    assert (np.mean(far) - it.threshold) / it.scale == pytest.approx(-1)


# Floors.


@given(
    st.lists(SCORE, min_size=1, max_size=80),
    SCORES,
    st.floats(0, 0.5),
    st.floats(0, 1),
)
def test_a_floor_dismisses_no_more_than_it_may(
    above: list[float], far: list[float], miss: float, passing: float
) -> None:
    inside, outside = np.array(above), np.array(far)
    floor = floor_for(inside, outside, miss, passing)
    missed = np.mean(inside < floor.floor)
    assert missed <= miss + 1e-12
    assert floor.missed == pytest.approx(missed)
    assert floor.missed_upper == upper_limit(int(np.sum(inside < floor.floor)), len(above))
    if far:
        assert floor.passed == pytest.approx(np.mean(outside >= floor.floor))


@given(st.lists(SCORE, min_size=1, max_size=80), SOME, st.floats(0, 0.5), st.floats(0, 1))
def test_a_floor_is_as_low_as_costs_next_to_nothing(
    above: list[float], far: list[float], miss: float, passing: float
) -> None:
    inside, outside = np.array(above), np.array(far)
    floor = floor_for(inside, outside, miss, passing).floor
    strict = floor_for(inside, np.zeros(0), miss, passing).floor  # for the forget rows' sake alone
    assert floor <= strict
    if floor < strict:
        assert floor == pytest.approx(np.quantile(outside, 1 - passing))


def test_a_floor_that_was_measured() -> None:
    inside = np.arange(1000) / 1000
    floor = floor_for(inside, np.full(100, -1.0), 0.002, 0.0)
    assert floor.floor == -1.0 and floor.missed == 0.0  # everyday prompts lie lower still
    floor = floor_for(inside, np.full(100, 0.5), 0.002, 0.0)
    assert floor.floor == 0.002 and floor.missed == 0.002 and floor.passed == 1.0
    assert floor.missed_upper == pytest.approx(stats.beta.ppf(0.95, 3, 998))


def test_without_forget_rows_nothing_is_dismissed() -> None:
    floor = floor_for(np.zeros(0), np.zeros(5), 0.002, 0.05)
    assert floor.floor == -math.inf
    assert (floor.missed, floor.missed_upper, floor.passed) == (0.0, 1.0, 1.0)


# Limits.


@given(st.integers(0, 500), st.integers(1, 500))
def test_the_upper_limit_is_clopper_and_pearsons(hits: int, count: int) -> None:
    assume(hits <= count)
    result: Any = stats.binomtest(hits, count).proportion_ci(0.9, "exact")  # two-sided: 5 % above
    assert upper_limit(hits, count) == pytest.approx(result.high, rel=1e-6)


@given(st.integers(0, 200), st.integers(0, 200))
def test_the_upper_limit_orders(hits: int, more: int) -> None:
    assert hits / 200 < upper_limit(hits, 200) or hits == 200
    if more > hits:
        assert upper_limit(more, 200) > upper_limit(hits, 200) or hits == 200
    assert upper_limit(hits, 400) <= upper_limit(hits, 200)


def test_no_hit_in_a_thousand() -> None:
    assert upper_limit(0, 1000) == pytest.approx(1 - 0.05 ** (1 / 1000))  # "rule of three"
    assert upper_limit(7, 7) == 1.0
