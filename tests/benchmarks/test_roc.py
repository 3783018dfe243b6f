import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from benchmarks.roc import Scored, auc, bootstrap, exact_interval, mean_interval, tpr_at

# Few values, so that ties are common; minus infinity is what nothing at all scores.
SCORES = st.lists(st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 1.0, 2.0]), min_size=1, max_size=40)


def finite(scores: np.ndarray) -> np.ndarray:
    return np.where(np.isneginf(scores), -100.0, scores)


@given(SCORES, SCORES)
def test_auc_is_scikit_learns(above: list[float], below: list[float]) -> None:
    a, b = np.array(above), np.array(below)
    labels = [1] * len(a) + [0] * len(b)
    assert auc(a, b) == pytest.approx(roc_auc_score(labels, finite(np.r_[a, b])))


@given(SCORES, SCORES, st.sampled_from([0.0, 0.001, 0.1, 0.5, 1.0]))
def test_tpr_is_the_best_that_the_rate_allows(
    above: list[float], below: list[float], rate: float
) -> None:
    a, b = np.array(above), np.array(below)
    labels = [1] * len(a) + [0] * len(b)
    fpr, tpr, _ = roc_curve(labels, finite(np.r_[a, b]), drop_intermediate=False)
    assert tpr_at(a, b, rate) == pytest.approx(tpr[fpr <= rate].max())


@given(SCORES, SCORES, st.data())
def test_a_weight_counts_as_copies(
    above: list[float], below: list[float], data: st.DataObject
) -> None:
    def weights(n: int) -> list[int]:
        return data.draw(st.lists(st.integers(1, 3), min_size=n, max_size=n))

    w_a, w_b = weights(len(above)), weights(len(below))
    a, b = np.array(above), np.array(below)
    both = np.array(w_a, dtype=float), np.array(w_b, dtype=float)
    copies = np.repeat(a, w_a), np.repeat(b, w_b)
    assert auc(a, b, both) == pytest.approx(auc(*copies))
    assert tpr_at(a, b, 0.2, both) == pytest.approx(tpr_at(*copies, 0.2))


def test_exact_interval_of_nothing_flagged() -> None:
    low, high = exact_interval(0, 3600)
    assert low == 0 and high == pytest.approx(1 - 0.025 ** (1 / 3600))
    with pytest.raises(ValueError):
        exact_interval(0, 0)


def test_the_bootstrap_draws_groups() -> None:
    rng = np.random.default_rng(0)
    above = Scored(rng.normal(1, 1, 200), tuple(f"a{n}" for n in range(200)))
    below = Scored(rng.normal(0, 1, 200), tuple(f"b{n}" for n in range(200)))
    low, high = bootstrap(above, below, auc, 0)
    assert low < auc(above.scores, below.scores) < high
    assert bootstrap(above, below, auc, 0) == (low, high)
    # Two authors whose questions score alike say much less than 200 questions.
    scores = np.repeat([0.5, 2.5], 100)
    few = Scored(scores, ("one",) * 100 + ("two",) * 100)
    few_low, few_high = bootstrap(few, below, auc, 0)
    assert few_high - few_low > 2 * (high - low)


def test_mean_interval_draws_groups() -> None:
    values = [1.0] * 50 + [0.0] * 50
    assert mean_interval(values, ["one"] * 50 + ["two"] * 50, 0) == (0.0, 1.0)
    low, high = mean_interval(values, [str(n) for n in range(100)], 0)
    assert 0.3 < low < 0.5 < high < 0.7


@pytest.mark.parametrize(
    ("scores", "groups"), [([], ()), ([1.0], ("a", "b")), ([float("nan")], ("a",))]
)
def test_scores_that_cannot_be_used(scores: list[float], groups: tuple[str, ...]) -> None:
    with pytest.raises(ValueError):
        Scored(np.array(scores), groups)
