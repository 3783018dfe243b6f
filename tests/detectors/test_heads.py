"""Heads: a cluster each, class weights, hard negatives, log-odds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guard.detectors import heads as module
from guard.detectors.base import Vectors
from guard.detectors.heads import clusters, fit_heads, highest, log_odds


def around(centres: Vectors, each: int, spread: float, seed: int = 0) -> Vectors:
    """Unit vectors in clouds around centres [k, d], cloud by cloud."""
    random = np.random.default_rng(seed)
    points = random.normal(np.repeat(centres, each, axis=0), spread)
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True), dtype=np.float32)


def one_cluster(vectors: Vectors) -> np.ndarray:
    return np.zeros(len(vectors), dtype=np.intp)


@pytest.mark.parametrize("count", [3, 6, 14])
def test_what_differs_is_divided(count: int) -> None:
    numbers = clusters(around(np.eye(16, dtype=np.float32)[:count], 24, 0.05), seed=0)
    assert numbers.max() + 1 == count
    assert all(len(set(cloud)) == 1 for cloud in numbers.reshape(count, 24))


@given(st.integers(1, 60), st.booleans(), st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_clusters_are_numbered_without_gaps(rows: int, same: bool, seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(rows, 4)).astype(np.float32)
    numbers = clusters(vectors[:1].repeat(rows, axis=0) if same else vectors, seed)
    assert numbers.shape == (rows,)
    assert set(numbers) == set(range(numbers.max() + 1))
    assert np.array_equal(numbers, clusters(vectors, seed)) or same
    if same or rows < module.CLUSTER:
        assert numbers.max() == 0


def test_twenty_lines_fence_off_what_one_cannot() -> None:
    """Subjects among neighbours that lie between them: nothing linear has them all on one side."""
    corners = np.concatenate([np.eye(4), -np.eye(4)]).astype(np.float32)
    ours, others = around(corners, 20, 0.05), around(np.ones((1, 4), np.float32), 400, 2.0)
    others = others[(others @ corners.T).max(axis=1) < 0.9]
    unseen = around(corners, 20, 0.05, seed=1)
    one = highest(fit_heads(ours, others, one_cluster(ours), 10.0), unseen)
    several = highest(fit_heads(ours, others, clusters(ours, 0), 10.0), unseen)
    assert (several > 0).mean() > 0.95 > 0.8 > (one > 0).mean()


def test_class_weights_keep_few_rows_from_being_outvoted() -> None:
    from sklearn.linear_model import LogisticRegression

    ours = around(np.eye(8, dtype=np.float32)[:1], 12, 0.4)
    others = around(np.eye(8, dtype=np.float32)[1:], 300, 0.4)
    unseen = around(np.eye(8, dtype=np.float32)[:1], 200, 0.4, seed=1)
    found = highest(fit_heads(ours, others, one_cluster(ours), 1.0), unseen) > 0
    labels = np.arange(len(ours) + len(others)) < len(ours)
    plain = LogisticRegression(C=1.0).fit(np.concatenate([ours, others]), labels).predict(unseen)
    assert found.mean() > plain.mean() + 0.3


def test_hard_negatives_are_pushed_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few neighbours look like the target; many do not, and would drown them."""
    axes = np.eye(16, dtype=np.float32)
    twin = (axes[:1] + 0.7 * axes[1:2]) / np.hypot(1.0, 0.7)
    ours = around(axes[:1], 40, 0.1)
    others = np.concatenate([around(twin, 30, 0.1), around(axes[2:], 80, 0.1)])
    unseen = around(twin, 200, 0.1, seed=1), around(axes[:1], 200, 0.1, seed=1)

    def wrong() -> tuple[float, float]:
        heads = fit_heads(ours, others, one_cluster(ours), 1.0)
        return tuple(float((highest(heads, side) > 0).mean()) for side in unseen)  # type: ignore[return-value]

    twins, own = wrong()
    monkeypatch.setattr(module, "HARD_WEIGHT", 1.0)
    twins_without, _ = wrong()
    assert twins < 0.5 * twins_without
    assert own > 0.9


def test_a_score_is_that_of_the_highest_head() -> None:
    heads = np.array([[1, 0], [0, 2]], np.float32), np.array([0.5, -1], np.float32)
    vectors = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
    assert highest(heads, vectors) == pytest.approx([1.5, 1.0, 1.1])


def test_log_odds_of_two_normal_distributions() -> None:
    """N(1, 1) against N(-1, 1): the log-odds of x are 2x, however many there are of each."""
    random = np.random.default_rng(0)
    slope, offset = log_odds(random.normal(1, 1, 2000), random.normal(-1, 1, 8000))
    assert slope == pytest.approx(2.0, abs=0.15)
    assert offset == pytest.approx(0.0, abs=0.15)


@pytest.mark.parametrize(
    ("positives", "negatives"),
    [([], [1.0]), ([1.0], []), ([np.nan], [0.0]), ([-1.0, -2.0], [1.0, 2.0])],
)
def test_log_odds_of_nothing_leave_scores_as_they_are(
    positives: list[float], negatives: list[float]
) -> None:
    assert log_odds(np.array(positives), np.array(negatives)) == (1.0, 0.0)
