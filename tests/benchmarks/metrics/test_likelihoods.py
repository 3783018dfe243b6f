"""What is made of likelihoods, against the formulas worked out by hand.

0.5 and 0.125 are P(a|q)^(1/|a|) of the log-probabilities below: exp of their mean.
"""

import math
import re
from dataclasses import replace

import pytest

from benchmarks.leakage.case import Case
from benchmarks.metrics.blocked import Blocked
from benchmarks.metrics.closeness import Closeness
from benchmarks.metrics.forget_quality import ForgetQuality, forget_quality
from benchmarks.metrics.likelihoods import normalised
from benchmarks.metrics.perplexity import Perplexity, perplexity
from benchmarks.metrics.probability import Probability
from benchmarks.metrics.truth_ratio import TruthRatio, geometric_truth_ratio, truth_ratio
from benchmarks.metrics.utility import ModelUtility, choice, utility
from tests.benchmarks.metrics.material import answered, beside, cases, evidence, rows, scored, seen

HALF = (math.log(0.5), math.log(0.5))
EIGHTH = (math.log(0.25), math.log(1 / 16))
NEVER = (0.0, -math.inf)


def test_a_probability_is_the_geometric_mean_of_its_tokens() -> None:
    assert normalised(HALF) == pytest.approx(0.5)
    assert normalised(EIGHTH) == pytest.approx(0.125)
    assert normalised(NEVER) == 0.0
    with pytest.raises(ValueError, match="without tokens"):
        normalised(())


def test_a_likelihood_that_is_not_told_is_in_no_figure_but_in_unscored() -> None:
    held = cases("a", "b", "c")
    given = evidence(told={"forget": scored(held, HALF, None, EIGHTH)})
    row = rows(Probability(), given)["probability", "forget", None]
    assert seen(row) == (pytest.approx(0.3125), 2)
    row = rows(Blocked(), given)["unscored", "forget", None]
    assert seen(row) == (pytest.approx(1 / 3, abs=1e-6), 3)
    assert not rows(Probability(), evidence(told={"forget": scored(held, None, None, None)}))


def test_the_truth_ratio_is_the_papers_and_the_codes() -> None:
    # (0.5 + 0.125) / 2 / 0.25, and exp((ln 0.5 + ln 0.125) / 2) / 0.25
    right = (math.log(0.25),)
    assert truth_ratio(right, [HALF, EIGHTH]) == pytest.approx(1.25)
    assert geometric_truth_ratio(right, [HALF, EIGHTH]) == pytest.approx(1.0)
    assert truth_ratio(NEVER, [HALF]) == pytest.approx(0.5 / 1e-10)  # open-unlearning's epsilon
    assert geometric_truth_ratio(HALF, [NEVER, HALF]) == 0.0


def test_the_right_answer_of_a_truth_ratio_is_the_one_in_other_words_where_there_is_one() -> None:
    held = (
        Case("q", "a", "g", right="r", wrong=("w",)),
        Case("p", "b", "h", wrong=("w", "v")),
        Case("o", "c", "i", wrong=("w",)),
    )
    told = scored(
        held,
        HALF,
        HALF,
        HALF,
        right=(EIGHTH, None, None),
        wrong=((HALF,), (HALF, EIGHTH), (HALF, None)),
    )
    found = rows(TruthRatio(), evidence(told={"forget": told}))
    row = found["truth_ratio", "forget", None]
    assert seen(row) == (pytest.approx((4 + 0.625) / 2), 2)
    without = evidence(told={"forget": replace(told, right=())})
    assert rows(TruthRatio(), without)["truth_ratio", "forget", None].n == 1
    untold = rows(Blocked(), evidence(told={"forget": told}))["unscored", "forget", None]
    assert seen(untold) == (pytest.approx(1 / 3, abs=1e-6), 3)


def test_forget_quality_is_the_two_sample_test_of_scipy_on_the_ratios() -> None:
    # D = 1 with 3 and 3: two of the C(6, 3) = 20 orders are as extreme, p = 0.1.
    assert forget_quality([0.1, 0.2, 0.3], [0.8, 0.9, 1.0]) == pytest.approx(0.1)
    held = tuple(Case(f"q{n}", "a", f"g{n}", wrong=("w",)) for n in range(3))
    knows = scored(held, *[HALF] * 3, wrong=tuple(((math.log(0.1 + n / 100),),) for n in range(3)))
    never = scored(held, *[HALF] * 3, wrong=tuple(((math.log(0.6 + n / 100),),) for n in range(3)))
    given = evidence(told={"forget": knows, "retain": knows})
    retrained = evidence(told={"forget": never, "retain": never})
    assert not rows(ForgetQuality(), given)
    found = rows(ForgetQuality(), beside(given, retrained=retrained))
    assert found["forget_quality", "forget", None].value == pytest.approx(0.1)
    assert found["forget_quality_geometric", "forget", None].n == 3
    assert {split for _, split, _ in found} == {"forget"}
    same = rows(ForgetQuality(), beside(retrained, retrained=retrained))
    assert same["forget_quality", "forget", None].value == 1.0


def test_distances_to_the_retrained_model_are_taken_case_by_case() -> None:
    held = cases("a", "b")
    one, two = scored(held, HALF, EIGHTH), scored(held, EIGHTH, HALF)
    given = evidence(
        {("forget", None): answered(held, "a", "x")},
        {"forget": one},
        retrained=evidence({("forget", None): answered(held, "x", "b")}, {"forget": two}),
    )
    found = rows(Closeness(), given)
    assert found["distance_probability", "forget", None].value == pytest.approx(0.375)
    assert found["distance_rouge_l", "forget", None].value == 1.0
    assert found["p_retrained_probability", "forget", None].value == 1.0  # the means are the same


def test_perplexity_is_over_all_tokens_and_never_infinite() -> None:
    assert perplexity([HALF, EIGHTH]) == pytest.approx(math.exp(math.log(2 * 2 * 4 * 16) / 4))
    assert perplexity([NEVER]) == pytest.approx(1e5)  # √(1 / 1e-10)
    found = rows(Perplexity(), evidence(told={"retain": scored(cases("a", "b"), HALF, None)}))
    assert seen(found["perplexity", "retain", None]) == (
        pytest.approx(2),
        1,
    )


def test_utility_is_a_harmonic_mean_of_what_there_is() -> None:
    near = cases("red green")
    far = (Case("q", "one two", "g", wrong=("w",)),)
    given = evidence(
        {("retain", None): answered(near, "red"), ("facts", None): answered(far, "one two")},
        {
            "retain": scored(near, HALF),
            "facts": scored(far, HALF, wrong=((EIGHTH,),)),
            "forget": scored(near, HALF),
        },
    )
    # retain: probability 0.5, ROUGE-L 0.5; facts: 0.5/(0.5+0.125), 1, 1 - 0.125/0.5
    parts = [0.5, 0.5, 0.8, 1.0, 0.75]
    found = rows(ModelUtility(), given)
    row = found["model_utility", "kept", None]
    assert row.value == pytest.approx(5 / sum(1 / part for part in parts), abs=1e-6)
    assert (row.n, row.low) == (2, None)  # one group a side: no interval
    assert found["utility_parts", "kept", None].value == 5
    assert utility(parts) == pytest.approx(row.value, abs=1e-6)
    assert choice(0.5, [0.125]) == pytest.approx(0.8)


def test_who_finds_wrong_answers_likelier_has_no_utility_but_not_less() -> None:
    held = (Case("q", "one", "g", wrong=("w",)), Case("p", "two", "h", wrong=("w",)))
    told = scored(held, HALF, EIGHTH, wrong=((EIGHTH,), (HALF,)))
    found = rows(ModelUtility(), evidence(told={"facts": told}))
    # choice: (0.8 + 0.2) / 2; 1 - truth ratio: (0.75 + 0) / 2, not (0.75 - 3) / 2
    expected = 2 / (1 / 0.5 + 1 / 0.375)
    assert found["model_utility", "kept", None].value == pytest.approx(expected, abs=1e-6)


def test_an_interval_holds_the_figure() -> None:
    held = cases(*"abcdefgh")
    told = scored(held, *[((math.log((n + 1) / 10)),) for n in range(8)])
    row = rows(Probability(), evidence(told={"forget": told}))["probability", "forget", None]
    assert row.low is not None and row.high is not None
    assert 0.1 < row.low < row.value < row.high < 0.8


def test_rows_are_finite_whatever_is_said() -> None:
    held = (Case("q", "a b c", "g", right="r", wrong=("w",)), Case("p", "b", "h", wrong=("w",)))
    told = scored(held, NEVER, NEVER, right=(NEVER, None), wrong=((NEVER,), (HALF,)))
    given = evidence(told={"forget": told, "retain": told})
    for metric in (Probability(), TruthRatio(), Perplexity(), ModelUtility()):
        assert all(re.fullmatch(r"[\w@]+", key[0]) for key in rows(metric, given))
