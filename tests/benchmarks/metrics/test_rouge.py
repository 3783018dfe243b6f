"""ROUGE-L, against cases counted by hand and recorded from the reference implementation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.metrics.rouge import RougeL, rouge_l, rouge_l_f1
from tests.benchmarks.metrics.material import BLOCKED, FAILED, answered, cases, evidence, rows, seen


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


# Answer, reference, recall and F1, as google's rouge_score 0.1.2 gives them without stemming.
RECORDED = [
    (
        "Oda Brandt, a lighthouse keeper, moved to Bergen in the year 1974.",
        "The lighthouse keeper Oda Brandt moved to Bergen in 1974.",
        0.7,
        0.636364,
    ),
    (
        "Her mother was a glazier; her father kept bees.",
        "Her father was a glazier and her mother kept bees.",
        0.7,
        0.736842,
    ),
    (
        "I am sorry, I do not know which prizes she won.",
        "She won the Halvard Prize for 'Salt and Tin' twice: in 1989 and 1993.",
        0.142857,
        0.16,
    ),
    (
        "He wrote about a harbour, a storm and letters, forgotten letters, and about harbours.",
        "He writes about harbours, storms and forgotten letters.",
        0.625,
        0.454545,
    ),
    (
        "The results of the A level were 3.5 of 4, which is well known.",
        "A-level results: 3.5 of 4 (well-known).",
        0.888889,
        0.666667,
    ),
    ("", "The novel begins with a letter.", 0.0, 0.0),
]


@pytest.mark.parametrize(("answer", "reference", "recall", "f1"), RECORDED)
def test_it_agrees_with_the_reference_implementation(
    answer: str, reference: str, recall: float, f1: float
) -> None:
    assert rouge_l(answer, reference) == pytest.approx(recall, abs=1e-3)
    assert rouge_l_f1(answer, reference) == pytest.approx(f1, abs=1e-3)


@given(WORDS, WORDS)
def test_f1_is_the_harmonic_mean_of_recall_and_precision(answer: str, reference: str) -> None:
    recall, precision = rouge_l(answer, reference), rouge_l(reference, answer)
    mean = 2 * recall * precision / (recall + precision) if recall + precision else 0.0
    assert rouge_l_f1(answer, reference) == pytest.approx(mean)


def test_of_what_is_forgotten_the_answer_that_holds_most_counts() -> None:
    held = cases("red green blue", "one two three four")
    said = answered(held, ["red", "red green"], ["nothing", FAILED])
    found = rows(RougeL(), evidence({("forget", "sampling"): said, ("retain", None): said}))
    assert found["rouge_l", "forget", "sampling"].value == pytest.approx((2 / 3 + 0) / 2, abs=1e-5)
    assert found["rouge_l", "retain", None].value == pytest.approx((1 / 2 + 0) / 2)


def test_what_failed_lowers_n_and_what_was_blocked_counts_as_it_reads() -> None:
    held = cases("red green", "one two", "I cannot say")
    found = rows(RougeL(), evidence({("forget", None): answered(held, "red", FAILED, BLOCKED)}))
    row = found["rouge_l", "forget", None]
    assert seen(row) == (0.75, 2)
    assert row.low is not None and row.high is not None and 0.5 <= row.low <= row.high <= 1
