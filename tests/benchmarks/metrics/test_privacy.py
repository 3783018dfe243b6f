"""Attacks by likelihood, against hand-worked cases and scikit-learn."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from benchmarks.metrics.loss_mia import LossMia
from benchmarks.metrics.membership import min_k
from benchmarks.metrics.mia_score import MiaScore, score
from benchmarks.metrics.min_k import MinK
from benchmarks.metrics.privacy_leak import PrivacyLeak, privacy_leak
from tests.benchmarks.metrics.material import beside, cases, evidence, rows, scored

LOGS = st.lists(st.floats(-9, 0), min_size=1, max_size=6).map(tuple)


def test_min_k_is_the_mean_of_the_least_likely_tokens_rounded_down() -> None:
    logs = (-1.0, -5.0, -2.0, -3.0, -4.0)
    assert min_k(logs, 0.4) == -4.5
    assert min_k(logs, 0.39) == -5.0
    assert min_k(logs, 0.1) == -5.0  # at least one
    assert min_k(logs, 1.0) == -3.0


@settings(deadline=None, max_examples=5)
@given(st.lists(LOGS, min_size=2, max_size=5), st.lists(LOGS, min_size=2, max_size=5))
def test_the_areas_are_scikit_learns(
    learned: list[tuple[float, ...]], never: list[tuple[float, ...]]
) -> None:
    held = evidence(
        told={
            "forget": scored(cases(*"abcde"[: len(learned)]), *learned),
            "holdout": scored(cases(*"fghij"[: len(never)]), *never),
        }
    )
    labels = [1] * len(learned) + [0] * len(never)
    area = rows(LossMia(), held)["auc_loss", "forget", None]
    expected = roc_auc_score(labels, [sum(logs) / len(logs) for logs in [*learned, *never]])
    assert area.value == pytest.approx(expected, abs=1e-5) and area.n == len(labels)
    mia = rows(MiaScore(), held)["mia_score", "forget", None]
    assert mia.value == pytest.approx(1 - 2 * abs(expected - 0.5), abs=1e-5) and mia.n == area.n
    assert 0 <= mia.low <= mia.high <= 1
    for name, share in (("auc_min_20", 0.2), ("auc_min_40", 0.4)):
        expected = roc_auc_score(labels, [min_k(logs, share) for logs in [*learned, *never]])
        assert rows(MinK(), held)[name, "forget", None].value == pytest.approx(expected, abs=1e-5)


def test_too_much_forgotten_scores_as_too_little() -> None:
    assert [score(area) for area in (0.0, 0.25, 0.5, 0.75, 1.0)] == [0.0, 0.5, 1.0, 0.5, 0.0]


def test_privacy_leak_is_muses() -> None:
    # 0.4772 is the retrained model's area on NEWS in MUSE's code: (0.001 − 0.4772) / 0.4772.
    assert privacy_leak(0.0010, 0.4772) == pytest.approx(-99.79, abs=0.01)
    assert privacy_leak(0.4772, 0.4772) == 0.0
    assert privacy_leak(0.9544, 0.4772) == pytest.approx(100)


def test_who_remembers_leaks_minus_a_hundred_and_who_over_forgets_leaks_more_than_none() -> None:
    forget, never = cases("a", "b", "c"), cases("d", "e", "f")

    def told(*forgotten: float) -> dict[str, object]:
        return {
            "forget": scored(forget, *[(value,) for value in forgotten]),
            "holdout": scored(never, (-2.0,), (-3.0,), (-4.0,)),
        }

    retrained = evidence(told=told(-2.5, -3.5, -3.0))  # type: ignore[arg-type]
    for values, expected in (
        ((-0.1, -0.2, -0.3), -100.0),
        ((-2.5, -3.5, -3.0), 0.0),
        ((-9.0, -8.0, -7.0), 100.0),
    ):
        held = evidence(told=told(*values))  # type: ignore[arg-type]
        assert not rows(PrivacyLeak(), held)
        found = rows(PrivacyLeak(), beside(held, retrained=retrained))
        assert found["privacy_leak", "forget", None].value == pytest.approx(expected, abs=1e-4)


def test_only_cases_that_both_systems_tell_of_are_compared() -> None:
    forget, never = cases("a", "b"), cases("d", "e")
    held = evidence(
        told={"forget": scored(forget, (-1.0,), None), "holdout": scored(never, (-2.0,), (-3.0,))}
    )
    other = evidence(
        told={
            "forget": scored(forget, (-1.0,), (-9.0,)),
            "holdout": scored(never, None, (-3.0,)),
        }
    )
    row = rows(PrivacyLeak(), beside(held, retrained=other))["privacy_leak", "forget", None]
    assert (row.n, row.low) == (2, None)
