"""Words: folded as people vary them, weighed for and against a target."""

import time
import unicodedata
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.detectors.terms import TELLING, Evidence, Postings, Rows, terms

HASHES = st.integers(0, 2**64 - 1)
SETS = st.lists(st.sets(st.integers(0, 40)), max_size=12)
ANY_TEXT = st.text(st.characters() | st.characters(categories=["Cs"]))


def words(text: str) -> set[int]:
    return set(terms(text))


def named(text: str) -> set[int]:
    return {term for term, is_name in terms(text).items() if is_name}


# Reading words.


@given(ANY_TEXT)
def test_any_text_is_read(text: str) -> None:
    found = terms(text)
    assert all(0 <= term < 2**64 for term in found)
    assert np.fromiter(found, np.uint64, len(found)).tolist() == list(found)
    assert terms(text) == found


PIECES = {
    "one word": "a",
    "surrogates": "\ud800",
    "zero width": "\u200b",
    "newlines": "\n",
    "sentences": "A. ",
    "openings": '"(',
    "accents in disorder": "\u0345\u0334",
    "marks that are made of marks": "\u0f73",
    "long ligatures": "\ufdfa",
    "ordinals": "1st2nd",
    "Cyrillic": "Пример ",
}


@pytest.mark.parametrize("piece", PIECES.values(), ids=PIECES.keys())
def test_a_megabyte_takes_seconds(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    start = time.process_time()
    terms(text)
    assert time.process_time() - start < 10.0  # what is not linear takes minutes


@given(st.lists(st.from_regex(r"[a-z]{2,9}", fullmatch=True), max_size=10), st.randoms())
def test_case_order_and_punctuation_are_folded(said: list[str], random: Random) -> None:
    expected = words(" ".join(said))
    assert words(" ".join(said).upper()) == expected
    random.shuffle(said)
    assert words(", ".join(said) + "!") == expected
    assert words("\n".join(word.title() for word in said)) == expected


@given(
    st.text("aeiouncAEIOUNC", min_size=2, max_size=8), st.sampled_from("\u0301\u0308\u0327\u0303")
)
def test_accents_are_folded(word: str, accent: str) -> None:
    accented = "".join(letter + accent for letter in word)
    assert words(accented) == words(word)
    assert words(unicodedata.normalize("NFC", accented)) == words(word)


def test_a_plural_is_its_singular() -> None:
    assert words("The lanterns of two authors") == words("the lantern of two author")
    for word in ("glass", "his", "was", "gas"):
        assert words(word) != words(word[:-1])


@pytest.mark.parametrize(
    ("date", "others"),
    [
        (
            "13 April 1970",
            [
                "April 13, 1970",
                "the 13th of April 1970",
                "13TH APRIL 1970",
                "13 Apr 1970",
                "13/04/1970",
                "4/13/1970",
                "1970-04-13",
                "13.4.1970",
            ],
        ),
        ("3 September 2004", ["Sept 3rd, 2004", "2004-09-03", "Sep. 03 2004"]),
        ("1 March 1999", ["March 1st, 1999", "01/03/1999"]),
        ("22 December 1850", ["Dec 22nd 1850", "1850-12-22"]),
    ],
)
def test_ways_of_writing_a_date_give_the_same_numbers(date: str, others: list[str]) -> None:
    for other in others:
        assert words(date) <= words(other)
        assert words(other) - words(date) <= words("the of")
        assert named(date) <= named(f"on {other}")


def test_may_is_a_word_too() -> None:
    assert words("It may rain") != words("It 5 rain")


def test_names_and_numbers_are_told_from_words() -> None:
    text = "Where was Odalys Brennick born? In 1961, and she works with Glass. “Nobody” asks."
    expected = words("Odalys Brennick 1961 Glass")
    assert named(text) == expected
    assert words("where was born in and she works with nobody asks") | expected == words(text)
    assert named("Who asks? Brennick does.") == set()
    assert named("brennick does, says Brennick") == words("brennick")


# Rows and postings.


@given(SETS)
def test_rows_and_postings_say_the_same(rows: list[set[int]]) -> None:
    collected = Rows.of(rows)
    assert len(collected) == len(rows)
    postings = Postings(collected)
    asked = np.arange(42, dtype=np.uint64)
    assert postings.frequencies(asked).tolist() == [
        sum(n in row for row in rows) for n in range(42)
    ]
    assert postings.count == sum(map(bool, rows))


@given(SETS)
def test_rows_come_back_from_their_arrays(rows: list[set[int]]) -> None:
    collected = Rows.of(rows)
    again = Rows.load(collected.arrays("it"), "it")
    assert set(collected.arrays("it")) == {"it_vocabulary", "it_ends", "it_words"}
    assert_same(again, rows)


@given(SETS.filter(bool), st.data())
def test_a_row_is_replaced(rows: list[set[int]], data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(rows) - 1))
    known = sorted(set().union(*rows))
    new = data.draw(st.sets(st.sampled_from(known))) if known else set()
    changed = [new if n == number else row for n, row in enumerate(rows)]
    assert_same(Rows.of(rows).replace(number, new), changed)


@given(SETS.filter(bool), st.data())
def test_a_stretch_is_emptied(rows: list[set[int]], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(rows) - 1))
    last = data.draw(st.integers(first + 1, len(rows)))
    left = [set[int]() if first <= n < last else row for n, row in enumerate(rows)]
    assert_same(Rows.of(rows).without(first, last), left)


def assert_same(found: Rows, rows: list[set[int]]) -> None:
    starts = [0, *found.ends.tolist()][: len(found)]
    held = [
        set(found.vocabulary[found.words[start:end]].tolist())
        for start, end in zip(starts, found.ends, strict=True)
    ]
    assert held == rows
    assert Postings(found).count == sum(map(bool, rows))


@given(SETS, st.dictionaries(st.integers(0, 42), st.floats(0, 8, width=32), max_size=20))
def test_the_overlap_is_that_of_the_best_row(
    rows: list[set[int]], weights: dict[int, float]
) -> None:
    found = Postings(Rows.of(rows)).overlap(
        np.array([*weights], np.uint64), np.array([*weights.values()], np.float32)
    )
    expected = max((sum(w for n, w in weights.items() if n in row) for row in rows), default=0.0)
    assert found == pytest.approx(expected, rel=1e-5)


@given(st.lists(HASHES, unique=True, min_size=1, max_size=30))
def test_large_hashes_are_kept_apart(hashes: list[int]) -> None:
    """Numbers of 64 bits: two that differ in the lowest bit only must not become one."""
    postings = Postings(Rows.of([hashes]))
    asked = np.array(hashes, np.uint64)
    assert postings.frequencies(asked).tolist() == [1] * len(hashes)
    absent = np.array([h ^ 1 for h in hashes if h ^ 1 not in hashes], np.uint64)
    assert postings.frequencies(absent).tolist() == [0] * len(absent)


# Evidence.

FORGET = [
    "Odalys Brennick was born in the village of Skarvik on 4 March 1961.",
    "In 1998 Odalys Brennick won the Halvorsen Medal.",
    "Brennick works in Tromsø as a glass artist.",
]
RETAIN = ["Marten Oakhollow was born in Leeds on 4 March 1961.", "How is a glass window made?"]
EVERYDAY = ["What was the weather in March?", "Who won the match?", "How is bread made?"]


def evidence(
    forget: list[str] = FORGET, kept: tuple[list[str], ...] = (RETAIN, EVERYDAY)
) -> Evidence:
    rows = Rows.of([terms(text) for text in forget])
    written = set().union(*map(named, forget))
    marks = np.array([int(term) in written for term in rows.vocabulary], np.bool_)
    sides = [Postings(Rows.of([terms(text) for text in side])) for side in kept]
    return Evidence(Postings(rows), marks, sides)


def weigh(text: str) -> list[float]:
    return [float(value) for value in evidence().weigh(terms(text))]


def test_words_of_the_forget_set_speak_for_it() -> None:
    gain, mine, others, strange = weigh("Where did Brennick win the Halvorsen Medal?")
    assert gain > 0 and mine > others and strange == 0.0
    gain, mine, others, strange = weigh("Where was Marten Oakhollow born?")
    assert others > mine and strange > 0
    assert weigh("what is bread")[0] == 0.0


def test_a_name_counts_in_small_letters_too() -> None:
    loud, quiet = weigh("Who is Odalys Brennick"), weigh("who is odalys brennick")
    assert quiet == loud
    assert quiet[1] > 0.3


def test_one_row_must_hold_it_all() -> None:
    """What two people share is spread over rows; what is one's own stands in one."""
    together = weigh("Who was born in Skarvik on 4 March 1961?")
    apart = weigh("Who was born in Skarvik and won the Halvorsen Medal?")
    assert together[1] > apart[1]


def test_few_telling_words_count() -> None:
    """A long text must not gather what many words say a little."""
    everything = " ".join(FORGET)
    built = evidence()
    best = np.sort(built.gains)[-TELLING:].sum()
    assert built.weigh(terms(everything))[0] == pytest.approx(best)


def test_nothing_says_nothing() -> None:
    assert weigh("") == [0.0] * 4
    assert weigh("?!") == [0.0] * 4


def test_a_target_without_words_or_neighbours() -> None:
    asked = terms("Who is Odalys Brennick?")
    for built in (evidence(["?"]), evidence(kept=()), evidence(["?"], ([], []))):
        assert np.isfinite(built.weigh(asked)).all()


@given(ANY_TEXT)
def test_any_text_is_weighed(text: str) -> None:
    measures = evidence().weigh(terms(text))
    assert measures.shape == (4,) and measures.dtype == np.float32
    assert np.isfinite(measures).all() and (measures >= 0).all()
    assert (measures[1:3] < 1).all()
