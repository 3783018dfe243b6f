"""Held-out rows on their way: what is settled stays settled, and counts where it should."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.detectors.calibration import Scores, upper_limit
from guard.detectors.heldout import SIDES, HeldOut

SCORE = st.floats(-1, 1) | st.just(float("nan"))
ROWS = st.lists(st.tuples(SCORE, SCORE, st.booleans()), min_size=1, max_size=30)


def sides(values: list[float]) -> dict[str, Scores]:
    return {side: np.array(values) for side in SIDES}


def held_out(count: int, foreign: list[bool] | None = None) -> HeldOut:
    return HeldOut([count] * 3, np.array(foreign or [False] * count))


@given(ROWS, st.floats(-1, 1), st.floats(-1, 1))
def test_a_settled_row_stays_settled(
    drawn: list[tuple[float, float, bool]], floor: float, threshold: float
) -> None:
    cheap, dear, foreign = (list(column) for column in zip(*drawn, strict=True))
    rows = held_out(len(drawn), foreign)
    rows.settle(sides(cheap), None, floor)
    rows.settle(sides(dear), threshold, None)
    for side in SIDES:
        for n, (first, second, other) in enumerate(drawn):
            spared = side == "background" and other
            dismissed = first < floor and not spared
            assert rows.dismissed[side][n] == dismissed
            assert rows.flagged[side][n] == (second >= threshold and not dismissed)


@given(ROWS, st.floats(-1, 1), st.floats(-1, 1))
def test_later_stages_see_what_is_settled_as_infinite(
    drawn: list[tuple[float, float, bool]], floor: float, threshold: float
) -> None:
    first, second = [row[0] for row in drawn], [row[1] for row in drawn]
    rows = held_out(len(drawn))
    rows.settle(sides(first), threshold, min(floor, threshold))
    seen = rows.seen(sides(second), "background")
    expected = [
        np.inf if one >= threshold else -np.inf if one < min(floor, threshold) else two
        for one, two in zip(first, second, strict=True)
        if not np.isnan(two)
    ]
    assert seen.tolist() == expected


def test_a_rate_is_that_of_all_stages_together() -> None:
    count = 199  # vouch for 2 % with three flagged
    rows = held_out(count)
    first = np.zeros(count)
    first[:2] = 1.0
    rows.settle({**sides([0.0] * count), "background": first}, 0.5, None)
    second = np.linspace(0.0, 1.0, count)
    scores = {**sides([0.0] * count), "positives": np.zeros(0), "background": second}
    scores["neighbours"] = np.zeros(count)
    rows.flagged["positives"] = rows.dismissed["positives"] = np.zeros(0, np.bool_)
    found = rows.calibrate(scores, 0.02)
    rows.settle(scores, found.threshold, None)
    assert rows.detection()["everyday_flagged"] == 3
    assert found.bound == pytest.approx(0.02)


def test_detection_says_what_became_of_the_rows() -> None:
    rows = held_out(4)
    rows.settle(sides([0.1, 0.6, 0.7, float("nan")]), 0.5, 0.2)
    assert rows.detection() == {
        "detected": 0.5,
        "neighbours_flagged": 0.5,
        "everyday_flagged": 2,
        "everyday": 4,
        "upper": upper_limit(2, 4),
    }


def test_the_highest_kept_row_is_one_that_nothing_has_settled() -> None:
    scores = {
        "positives": np.array([9.0]),
        "neighbours": np.array([0.5, np.nan]),
        "background": np.array([2.0, 1.0, 3.0]),
    }
    held = HeldOut([1, 2, 3], np.zeros(3, np.bool_))
    assert held.highest_kept(scores) == 3.0
    held.settle(scores, 2.5, None)  # the third everyday prompt is flagged already
    assert held.highest_kept(scores) == 2.0
    held.settle(scores, None, 1.5)  # and the second dismissed, with a neighbour
    assert held.highest_kept(scores) == 2.0
    nothing = {side: np.array([]) for side in scores}
    assert HeldOut([0, 0, 0], np.zeros(0, np.bool_)).highest_kept(nothing) == -np.inf
