"""Intervals and tests, against enumeration by hand."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.statistics import interval, interval_of_mean, paired_p

VALUES = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=3, max_size=8)


def test_groups_are_drawn_not_cases() -> None:
    values, groups = [0.0] * 50 + [1.0] * 50, ["a"] * 50 + ["b"] * 50
    assert interval_of_mean(values, groups, 0) == (0.0, 1.0)  # both, or one of them twice
    low, high = interval_of_mean(values, [str(n) for n in range(100)], 0) or (0.0, 1.0)
    assert 0.35 < low < 0.5 < high < 0.65


def test_one_group_has_no_interval() -> None:
    assert interval_of_mean([0.0, 1.0], ["a", "a"], 0) is None
    assert interval(lambda drawn: 1.0, [["a", "b"], ["c"]], 0) is None


def test_the_interval_of_any_figure_is_that_of_a_mean_where_it_is_a_mean() -> None:
    values = np.arange(20) / 20
    groups = [str(n // 2) for n in range(20)]
    found = interval(lambda drawn: float(values[drawn[0]].mean()), [groups], 3)
    assert found == pytest.approx(interval_of_mean(list(values), groups, 3), abs=0.05)


def test_draws_without_a_figure_are_left_out() -> None:
    assert interval(lambda drawn: None, [["a", "b"]], 0) is None
    groups = ["a", "b", "c"]
    found = interval(lambda drawn: 1.0 if 0 in drawn[0] else None, [groups], 0)
    assert found == (1.0, 1.0)


@given(VALUES, st.randoms())
def test_the_p_value_is_the_share_of_swaps_as_extreme(values: list[float], random: object) -> None:
    one = np.array(values)
    other = np.roll(one, 1) / 2
    differences = one - other
    signs = np.array(list(product((1, -1), repeat=len(values))))
    means = signs @ differences
    expected = np.mean(np.abs(means) >= abs(differences.sum()) - 1e-12)
    groups = [str(n) for n in range(len(values))]
    assert paired_p(list(one), list(other), groups, 0) == pytest.approx(expected, abs=1e-9)


def test_cases_of_a_group_are_swapped_together() -> None:
    one, other = [1.0] * 12, [0.0] * 12
    assert paired_p(one, other, [str(n) for n in range(12)], 0) == pytest.approx(2 / 2**12)
    assert paired_p(one, other, [str(n % 2) for n in range(12)], 0) == pytest.approx(0.5)
    assert paired_p(one, other, ["a"] * 12, 0) == 1.0
    assert paired_p(one, one, [str(n) for n in range(12)], 0) == 1.0


def test_a_paired_test_needs_pairs() -> None:
    with pytest.raises(ValueError, match="the same cases"):
        paired_p([1.0], [1.0, 2.0], ["a"], 0)
    with pytest.raises(ValueError, match="the same cases"):
        paired_p([], [], [], 0)
