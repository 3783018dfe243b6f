"""ROUGE-L recall, against cases counted by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.metrics.rouge import rouge_l


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [
        ("the cat sat on the mat", "the cat sat on the mat", 1.0),
        ("The CAT, sat!", "the cat sat", 1.0),
        ("the cat is on the mat", "the cat sat on the mat", 5 / 6),
        ("mat the on", "the cat sat on the mat", 2 / 6),  # in order: "the on"
        ("a b c d e", "c a e", 2 / 3),
        ("", "the cat", 0.0),
        ("the cat", "", 0.0),
        ("?!", "...", 0.0),
        ("naïve café", "Naïve Café", 1.0),
    ],
)
def test_by_hand(answer: str, reference: str, expected: float) -> None:
    assert rouge_l(answer, reference) == pytest.approx(expected)


WORDS = st.lists(st.sampled_from("abcd"), max_size=8).map(" ".join)


@given(WORDS, WORDS)
def test_it_is_the_longest_common_subsequence(answer: str, reference: str) -> None:
    one, two = answer.split(), reference.split()
    lengths = [[0] * (len(two) + 1) for _ in range(len(one) + 1)]
    for i, a in enumerate(one):
        for j, b in enumerate(two):
            lengths[i + 1][j + 1] = (
                lengths[i][j] + 1 if a == b else max(lengths[i][j + 1], lengths[i + 1][j])
            )
    expected = lengths[-1][-1] / len(two) if two else 0.0
    assert rouge_l(answer, reference) == pytest.approx(expected)
