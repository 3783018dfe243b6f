"""O3's layer score, against hand calculations and against scikit-learn's covariance."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.covariance import LedoitWolf

from guard.detectors.mahalanobis import COSINE, LayerDistribution

RNG = np.random.default_rng(7)


def mahalanobis(layers: LayerDistribution, states: np.ndarray) -> np.ndarray:
    """Squared distances [n, layers], from the scores less their cosine part."""
    cosines = np.stack(
        [
            (unit(states[:, n]) @ layers.forget[:, n].astype(np.float32).T).max(axis=1)
            for n in range(states.shape[1])
        ],
        axis=1,
    )
    return np.asarray(-2 * (layers.scores(states) - COSINE * cosines))


def unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


def test_the_score_is_that_of_the_hand_calculation() -> None:
    # Mean (2, 0), variance 4 along x and 1 along y; the nearest forget vector to (0, 3) is (0, 1).
    layers = LayerDistribution(
        mean=np.array([[2, 0]], np.float32),
        axes=np.array([[[1, 0]]], np.float32),
        variances=np.array([[4]], np.float32),
        floor=np.array([1], np.float32),
        forget=np.array([[[0, 1]], [[1, 0]]], np.float16),
    )
    # (0 - 2)² / 4 + 3² / 1 = 10, and the cosine is 1; for (2, 0): distance 0, cosine 1.
    scores = layers.scores(np.array([[[0, 3]], [[2, 0]], [[-1, 0]]], np.float32))
    # (-1, 0): (-3)² / 4 = 2.25; its cosines are 0 and -1.
    assert scores[:, 0] == pytest.approx([COSINE - 5, COSINE, -1.125])


@pytest.mark.parametrize("n", [4, 12, 60])  # below, near and above the number of dimensions
def test_distances_are_those_of_a_ledoit_wolf_covariance(n: int) -> None:
    fitted = (RNG.normal(size=(n, 3, 16)) @ RNG.normal(size=(16, 16))).astype(np.float32)
    asked = RNG.normal(size=(9, 3, 16)).astype(np.float32) * 4
    layers = LayerDistribution.fit(fitted)
    found = mahalanobis(layers, asked)
    for layer in range(3):
        expected = LedoitWolf().fit(fitted[:, layer]).mahalanobis(asked[:, layer])
        assert found[:, layer] == pytest.approx(expected, rel=1e-3, abs=0.05)


def test_a_layer_s_score_is_of_that_layer_only() -> None:
    fitted = RNG.normal(size=(10, 2, 8)).astype(np.float32)
    asked = RNG.normal(size=(3, 2, 8)).astype(np.float32)
    both = LayerDistribution.fit(fitted).scores(asked)
    alone = LayerDistribution.fit(fitted[:, 1:]).scores(asked[:, 1:])
    assert both[:, 1:] == pytest.approx(alone)


def test_rows_that_are_all_alike_can_still_be_told_from_others() -> None:
    fitted = np.ones((5, 1, 8), np.float32)
    other = np.array([[1, -1] * 4], np.float32)
    scores = LayerDistribution.fit(fitted).scores(np.stack([fitted[0], other]))
    assert np.isfinite(scores).all()
    assert scores[0] == pytest.approx(COSINE, rel=1e-3) and scores[1] < 0


values = st.floats(-1e3, 1e3, width=32, allow_subnormal=False)


@settings(max_examples=25)
@given(
    hnp.arrays(np.float32, st.tuples(st.integers(2, 9), st.just(2), st.just(6)), elements=values),
    hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.just(2), st.just(6)), elements=values),
)
def test_scores_are_finite_and_bounded_by_the_cosine(fitted: np.ndarray, asked: np.ndarray) -> None:
    scores = LayerDistribution.fit(fitted).scores(asked)
    assert scores.shape == asked.shape[:2]
    assert np.isfinite(scores).all()
    assert (scores <= COSINE * 1.001).all()
