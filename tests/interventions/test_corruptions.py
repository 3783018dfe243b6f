"""Each method of the family against arithmetic by hand, and what holds for all of them."""

from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.interventions.corruptions import METHODS, Method, corrupt

ROWS = np.array([[1, -4, 0.5, 3, -2, 0], [0, 0, -7, 1, 2, 3]], dtype=np.float32)
ORDERS: tuple[Method, ...] = ("reverse_order", "shuffle")
CHANGES = [method for method in METHODS if method not in ORDERS]
NOISES = [method for method in METHODS if METHODS[method].strength == "sigma"]


def by(
    method: Method, dims: int | None = 2, rows: Any = ROWS, seed: int = 0, amount: float = 0.5
) -> Any:
    return corrupt(rows, method, np.random.default_rng(seed), dims, amount)


def test_the_table_has_every_method() -> None:
    assert list(METHODS) == list(get_args(Method))


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("zero_out_top_k", [[1, 0, 0.5, 0, -2, 0], [0, 0, 0, 1, 2, 0]]),
        ("zero_out_first_n", [[0, 0, 0.5, 3, -2, 0], [0, 0, -7, 1, 2, 3]]),
        ("flip_sign", [[-1, 4, -0.5, -3, 2, 0], [0, 0, 7, -1, -2, -3]]),
        ("flip_sign_top_k", [[1, 4, 0.5, -3, -2, 0], [0, 0, 7, 1, 2, -3]]),
        ("flip_sign_first_n", [[-1, 4, 0.5, 3, -2, 0], [0, 0, -7, 1, 2, 3]]),
        ("sub_value_top_k", [[0.5, -4, 0.5, 2.5, -2, 0], [0, 0, -7, 1, 1.5, 2.5]]),
        ("sub_value_first_n", [[0.5, -4.5, 0.5, 3, -2, 0], [-0.5, -0.5, -7, 1, 2, 3]]),
        ("add_value_least_k", [[1, -3.5, 0.5, 3, -1.5, 0], [0.5, 0, -6.5, 1, 2, 3]]),
        ("add_value_first_n", [[1.5, -3.5, 0.5, 3, -2, 0], [0.5, 0.5, -7, 1, 2, 3]]),
        ("reverse_order", [[0, 0, -7, 1, 2, 3], [1, -4, 0.5, 3, -2, 0]]),
        ("shuffle", [[0, 0, -7, 1, 2, 3], [1, -4, 0.5, 3, -2, 0]]),
    ],
)
def test_by_hand(method: Method, expected: list[list[float]]) -> None:
    assert np.array_equal(by(method), np.array(expected, dtype=np.float32))


def test_noise_by_hand() -> None:
    noise = np.random.default_rng(0).normal(0.0, 0.5, ROWS.shape).astype(np.float32)
    first = by("rand_noise_first_n")
    assert np.array_equal(first[:, :2], ROWS[:, :2] + noise[:, :2])
    assert np.array_equal(first[:, 2:], ROWS[:, 2:])
    largest = by("rand_noise_top_k")
    chosen = np.array([[0, 1, 0, 1, 0, 0], [0, 0, 1, 0, 0, 1]], dtype=bool)
    assert np.array_equal(largest[chosen], (ROWS + noise)[chosen])
    assert np.array_equal(largest[~chosen], ROWS[~chosen])
    instead = by("set_rand_noise_first_n")
    assert np.array_equal(instead[:, :2], noise[:, :2])
    assert np.array_equal(instead[:, 2:], ROWS[:, 2:])


def test_drawn_dimensions_are_those_of_every_row_and_hang_on_the_seed() -> None:
    rows = np.random.default_rng(0).normal(size=(4, 50)).astype(np.float32)
    drawn = set()
    for seed in range(20):
        touched = by("rand_noise_rand_n", 5, rows, seed) != rows
        assert (touched == touched[0]).all() and touched[0].sum() == 5
        drawn.add(tuple(np.flatnonzero(touched[0])))
    assert len(drawn) > 10


@pytest.mark.parametrize("method", NOISES)
def test_noise_is_as_strong_as_it_should_be(method: Method) -> None:
    rows = np.zeros((200, 100), dtype=np.float32)
    noisy = by(method, 100, rows, amount=3.0)
    assert float(noisy.std()) == pytest.approx(3.0, rel=0.05)
    assert float(noisy.mean()) == pytest.approx(0.0, abs=0.1)
    assert len(np.unique(noisy)) > 10_000


def test_noise_that_is_set_hides_what_was_there_and_noise_that_is_added_does_not() -> None:
    rows = np.full((200, 100), 50.0, dtype=np.float32)
    assert float(by("set_rand_noise_first_n", 100, rows).mean()) == pytest.approx(0.0, abs=0.1)
    assert float(by("rand_noise_first_n", 100, rows).mean()) == pytest.approx(50.0, abs=0.1)


@pytest.mark.parametrize("method", CHANGES)
@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 2**32))
def test_only_the_chosen_dimensions_change(
    method: Method, width: int, dims: int, seed: int
) -> None:
    rows = np.random.default_rng(seed).normal(size=(3, width)).astype(np.float32)
    before = rows.copy()
    changed = by(method, dims, rows, seed)
    assert np.array_equal(rows, before)
    assert changed.shape == rows.shape and changed.dtype == np.float32
    assert np.isfinite(changed).all()
    count = width if METHODS[method].choose is None else min(dims, width)
    assert ((changed != rows).sum(axis=1) == count).all()
    assert np.array_equal(by(method, dims, rows, seed), changed)


@pytest.mark.parametrize("method", ORDERS)
@given(st.integers(1, 12), st.integers(0, 2**32))
def test_an_order_keeps_every_row_and_never_stays(method: Method, count: int, seed: int) -> None:
    rows = np.random.default_rng(seed).normal(size=(count, 4)).astype(np.float32)
    before = rows.copy()
    moved = by(method, None, rows, seed)
    assert np.array_equal(rows, before)
    assert sorted(map(tuple, moved)) == sorted(map(tuple, rows))
    assert (count == 1) == np.array_equal(moved, rows)
    assert np.array_equal(by(method, None, rows, seed), moved)
    if method == "reverse_order":
        assert np.array_equal(by(method, None, moved, seed), rows)


def test_a_shuffle_hangs_on_the_seed() -> None:
    rows = np.arange(40, dtype=np.float32).reshape(20, 2)
    assert len({tuple(by("shuffle", None, rows, seed)[:, 0]) for seed in range(10)}) == 10


@pytest.mark.parametrize("method", CHANGES)
@pytest.mark.parametrize(("width", "count"), [(576, 96), (6, 1), (5, 1), (1, 1)])
def test_a_sixth_is_changed_by_default(method: Method, width: int, count: int) -> None:
    rows = np.random.default_rng(0).normal(size=(1, width)).astype(np.float32)
    wanted = width if METHODS[method].choose is None else count
    assert (by(method, None, rows) != rows).sum() == wanted


@pytest.mark.parametrize("method", NOISES)
def test_noise_hangs_on_the_seed(method: Method) -> None:
    one, two = by(method, seed=1), by(method, seed=2)
    assert not np.array_equal(one, two)
    assert np.array_equal(one, by(method, seed=1))


@pytest.mark.parametrize("method", METHODS)
def test_no_rows_are_no_rows(method: Method) -> None:
    assert by(method, 2, np.empty((0, 6), dtype=np.float32)).shape == (0, 6)
