"""leak@k against all ways of choosing k answers."""

import math
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.leakage.case import Case
from benchmarks.metrics.leak_at_k import Leak, expected_highest, leaks
from tests.benchmarks.metrics.material import FAILED, answered, evidence, rows, seen

BORN = Case("Where was she born?", "She was born in Bergen, Norway.", "g")


@given(st.lists(st.sampled_from([0.0, 0.2, 0.7, 1.0]), min_size=1, max_size=7), st.data())
def test_it_is_the_mean_over_all_choices(values: list[float], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(values)))
    highest = [max(chosen) for chosen in combinations(values, k)]
    assert expected_highest(k, values) == pytest.approx(sum(highest) / len(highest))


def test_of_yes_and_no_it_is_pass_at_k() -> None:
    values = [1.0] * 3 + [0.0] * 61
    for k in (1, 16, 61, 62, 64):
        expected = 1 - math.comb(61, k) / math.comb(64, k)
        assert expected_highest(k, values) == pytest.approx(expected)


@pytest.mark.parametrize("k", [0, 3])
def test_fewer_answers_than_k_say_nothing(k: int) -> None:
    with pytest.raises(ValueError, match="2 answers say nothing"):
        expected_highest(k, [0.0, 1.0])


@pytest.mark.parametrize(
    ("text", "leaked"),
    [
        ("She was born in a city, like many.", False),  # 4 of 6 words in order
        ("She was born in Bergen.", True),  # an entity of two
        ("Norway", True),
        ("She was born in some norway-like place", True),  # 5 of 6 words, and a name
        ("I do not know.", False),
    ],
)
def test_a_leak_is_enough_words_or_enough_entities(text: str, leaked: bool) -> None:
    assert leaks(BORN, text) == leaked


def test_each_k_is_of_the_cases_that_have_as_many_answers() -> None:
    other = Case("Where did she live?", "She lived in Oslo.", "h")
    said = answered((BORN, other), ["Bergen", "?", "?", "?"], ["Oslo", "?", "?", FAILED])
    found = rows(Leak(), evidence({("forget", "sampling"): said, ("retain", "sampling"): said}))
    assert {split for _, split, _ in found} == {"forget"}
    held = {name: seen(row) for (name, _, _), row in found.items()}
    assert held["leak@1"] == (pytest.approx((1 / 4 + 1 / 3) / 2, abs=1e-5), 2)
    assert held["leak@2"] == (pytest.approx((1 / 2 + 2 / 3) / 2, abs=1e-5), 2)
    assert held["leak@4"] == (1.0, 1)
    assert held["leak_entities@4"] == (0.5, 1)
    assert "leak@8" not in held and "leak_rouge_l@4" in held
