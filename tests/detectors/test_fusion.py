"""Several measures of a text, weighed: by what was held out where there is enough of it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.detectors.fusion import ENOUGH, Features, fit_weights, fuse

SIGNS = (1, 1, -1)
USUAL = (2.0, 1.0, -1.0, -0.5)


def drawn(seed: int, count: int, *means: float) -> Features:
    random = np.random.default_rng(seed)
    return (np.array(means) + 0.3 * random.normal(size=(count, len(means)))).astype(np.float32)


def fit(inside: Features, near: Features, far: Features) -> list[float]:
    return fit_weights(inside, near, far, SIGNS, USUAL)


def test_the_sides_are_told_apart() -> None:
    inside, near, far = drawn(1, 40, 1, 1, 0), drawn(2, 30, 0.5, 0, 1), drawn(3, 300, 0, 0, 1)
    weights = fit(inside, near, far)
    assert len(weights) == len(SIGNS) + 1
    assert (fuse(inside, weights) > 0).mean() > 0.95
    assert (fuse(near, weights) < 0).mean() > 0.8
    assert (fuse(far, weights) < 0).mean() > 0.99


@given(st.integers(0, 2**32), st.integers(8, 40), st.integers(0, 40), st.integers(8, 60))
def test_no_weight_has_the_wrong_sign(seed: int, m: int, n: int, e: int) -> None:
    """Whatever the rows say: a measure that misleads is left out, not turned round."""
    random = np.random.default_rng(seed)
    sides = [random.normal(random.normal(size=3), 1, (rows, 3)) for rows in (m, n, e)]
    weights = fit(*(side.astype(np.float32) for side in sides))
    assert all(weight * sign >= 0 for weight, sign in zip(weights[:-1], SIGNS, strict=True))
    assert np.isfinite(weights).all()


def test_a_measure_that_misleads_is_left_out_and_the_rest_fitted_anew() -> None:
    inside, near, far = drawn(1, 40, 1, 0, 0), drawn(2, 40, 0, 1, 0), drawn(3, 40, 0, 1, 0)
    weights = fit(inside, near, far)
    assert weights[1] == 0.0
    without = fit(inside * [1, 0, 1], near * [1, 0, 1], far * [1, 0, 1])
    assert weights == pytest.approx(without, rel=1e-3)


def test_measures_may_have_any_unit() -> None:
    sides = drawn(1, 40, 1, 1, 0), drawn(2, 40, 0.5, 0, 1), drawn(3, 90, 0, 0, 1)
    scale = np.array([1000, 0.01, 1], np.float32)
    scores = fuse(sides[1], fit(*sides))
    scaled = fuse(sides[1] * scale, fit(*(side * scale for side in sides)))
    assert scaled == pytest.approx(scores, abs=1e-2)


def test_a_measure_that_is_always_the_same() -> None:
    sides = [drawn(seed, 40, mean, 0, 0) * [1, 0, 0] for seed, mean in ((1, 1), (2, 0), (3, 0))]
    weights = fit(*(side.astype(np.float32) for side in sides))
    assert weights[0] > 0 and np.isfinite(weights).all()


def test_many_everyday_prompts_do_not_drown_few_neighbours() -> None:
    """The measure that tells neighbours must count, though everyday prompts need it not."""
    inside, near = drawn(1, 40, 1, 1, 0), drawn(2, 20, 1, 0, 0)
    few = fit(inside, near, drawn(3, 20, 0, 0, 0))
    many = fit(inside, near, drawn(3, 4000, 0, 0, 0))
    assert many[1] == pytest.approx(few[1], rel=0.25)
    assert many[1] > 0


@pytest.mark.parametrize(
    ("m", "n", "e"), [(ENOUGH - 1, 50, 50), (0, 50, 50), (50, 3, ENOUGH - 4), (50, 0, 0)]
)
def test_too_few_rows_fit_nothing(m: int, n: int, e: int) -> None:
    assert fit(drawn(1, m, 1, 1, 0), drawn(2, n, 0, 0, 1), drawn(3, e, 0, 0, 1)) == list(USUAL)


@pytest.mark.parametrize(("n", "e"), [(0, ENOUGH), (ENOUGH, 0)])
def test_one_side_is_enough(n: int, e: int) -> None:
    weights = fit(drawn(1, ENOUGH, 1, 1, 0), drawn(2, n, 0, 0, 1), drawn(3, e, 0, 0, 1))
    assert weights != list(USUAL) and weights[0] > 0


def test_the_same_rows_give_the_same_weights() -> None:
    """Bit by bit: a target's record must not change when it is compiled again."""
    sides = drawn(1, 40, 1, 1, 0), drawn(2, 40, 0.5, 0, 1), drawn(3, 90, 0, 0, 1)
    assert fit(*sides) == fit(*sides)


def test_a_score_is_the_weighted_sum() -> None:
    features = np.array([[1, 2, 3], [0, 0, 0]], np.float32)
    assert fuse(features, [1.0, 0.5, -1.0, 0.25]).tolist() == [-0.75, 0.25]
    assert fuse(features[:0], list(USUAL)).shape == (0,)
