"""A target's rows, taken apart: each held out as if it had not been there."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.data import Row
from guard.detectors.base import Examples, Vectors
from guard.detectors.rows import blocks, collect, nearest, words_of
from guard.detectors.terms import Evidence, Postings, Rows, terms
from guard.view import slide
from tests.material import BOOK_PASSAGES, BOOK_ROWS, PERSON_NEIGHBOURS, PERSON_ROWS, UNRELATED

FORGET = (
    Row("Odalys Brennick", is_name=True),
    *(Row(question, answer) for question, answer in PERSON_ROWS[:9]),
    Row("Where was she born?"),
    *(Row(passage) for passage in BOOK_PASSAGES[:3]),
    Row("Odalys", is_name=True),
)
RETAIN = tuple(Row(question, answer) for question, answer in PERSON_NEIGHBOURS)
EVERYDAY = tuple(map(Row, UNRELATED))
EXAMPLES = Examples(("Odalys Brennick",), FORGET, RETAIN, EVERYDAY)
ROWS = [row for row in FORGET if not row.is_name]


def units(seed: int, count: int, dimensions: int = 8) -> Vectors:
    vectors = np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


# What is encoded.


def test_questions_and_telling_answers_are_encoded_and_names_are_not() -> None:
    found = collect(EXAMPLES)
    assert found is not None
    assert found.rows == ROWS
    assert [FORGET[number] for number in found.numbers] == ROWS
    assert "Odalys" not in found.texts
    for number, row in enumerate(found.rows[:9]):
        mine = [t for t, owner in zip(found.texts, found.owner, strict=True) if owner == number]
        assert mine == row.texts()  # an answer of a word or two says nothing by itself


def test_what_is_asked_goes_and_what_is_answered_stays() -> None:
    found = collect(EXAMPLES)
    assert found is not None
    answers = {row.answer for row in ROWS if row.answer}
    assert [text in answers for text in found.texts] == found.stays.tolist()


def test_a_passage_is_encoded_whole_and_by_sentences() -> None:
    passage = "The lamp went dark. Nobody saw the keeper. The ledger named every ship."
    found = collect(
        Examples((), (Row(passage), Row("Who?", "No one knows who.")), RETAIN, EVERYDAY)
    )
    assert found is not None
    texts = [text.strip() for text in found.texts]
    assert texts[:4] == [passage, *(f"{text}." for text in passage[:-1].split(". "))]
    assert not found.stays[:4].any()


LONG = " ".join(f"Word{n} of a telling sentence." for n in range(60))


@pytest.mark.parametrize("row", [Row("Who is it?", LONG), Row(LONG, "It is who you think.")])
def test_what_is_too_long_to_be_read_whole_is_encoded_in_windows(row: Row) -> None:
    found = collect(Examples((), (row,), RETAIN, EVERYDAY))
    assert found is not None
    windows = [LONG[start:end] for start, end in slide(LONG)]
    assert len(windows) > 3
    assert [text for text in found.texts if text in LONG] == windows
    asked = [text in slide_texts(row.prompt) for text in found.texts]
    assert found.stays.tolist() == [not one for one in asked]


def slide_texts(text: str) -> list[str]:
    return [text[start:end] for start, end in slide(text)]


def test_names_alone_are_nothing() -> None:
    assert collect(Examples(("A",), (FORGET[0],), RETAIN, EVERYDAY)) is None
    assert collect(Examples(("A",), (), RETAIN, EVERYDAY)) is None


def test_a_row_of_signs_is_encoded_as_it_is() -> None:
    found = collect(Examples((), (Row(" "), Row("?", "…")), (), ()))
    assert found is not None and found.texts == (" ", "?")
    assert np.isfinite(found.inside).all() and found.inside.shape == (2, 4)


# What the words say of a row that is held out.


def test_a_forget_row_is_held_out_but_for_its_answer() -> None:
    found = collect(EXAMPLES)
    assert found is not None
    for number, row in enumerate(ROWS):
        others = [words_of(other) for other in ROWS]
        others[number] = terms(row.answer)
        # Words of the vocabulary that no row has any more weigh nothing.
        collected = Rows.of([words_of(other) for other in ROWS])
        held = Rows.of(others)
        marks = named_of(held)
        expected = Evidence(Postings(held), marks, kept(RETAIN, EVERYDAY)).weigh(terms(row.prompt))
        # A word that only the held-out row wrote as a name is unknown here, and a name there.
        assert found.inside[number, 0] == pytest.approx(expected[0], rel=1e-5)
        assert len(collected.vocabulary) >= len(held.vocabulary)


def named_of(rows: Rows) -> "np.typing.NDArray[np.bool_]":
    written = {
        term
        for row in ROWS
        for text in (row.prompt, row.answer)
        for term, named in terms(text).items()
        if named
    }
    return np.array([int(term) in written for term in rows.vocabulary], np.bool_)


def kept(*sides: tuple[Row, ...]) -> list[Postings]:
    return [Postings(Rows.of([words_of(row) for row in side])) for side in sides]


def test_a_row_says_less_of_itself_when_it_is_held_out() -> None:
    found = collect(EXAMPLES)
    assert found is not None
    there = np.array([found.evidence.weigh(terms(row.prompt)) for row in ROWS])
    assert (found.inside[:, 0] <= there[:, 0] + 1e-5).all()
    assert found.inside[:, 0].sum() < there[:, 0].sum()


def test_kept_rows_are_held_out_with_those_around_them() -> None:
    found = collect(EXAMPLES)
    assert found is not None
    forget = Rows.of([words_of(row) for row in ROWS])
    expected = []
    for side, rows in enumerate((RETAIN, EVERYDAY)):
        for first, last in blocks(len(rows)):
            sides = [RETAIN, EVERYDAY]
            sides[side] = rows[:first] + rows[last:]
            held = Evidence(Postings(forget), named_of(forget), kept(*sides))
            expected += [held.weigh(terms(row.prompt)) for row in rows[first:last]]
    assert found.outside.shape == (len(RETAIN) + len(EVERYDAY), 4)
    assert found.outside == pytest.approx(np.array(expected), rel=1e-4, abs=1e-4)
    assert found.kept_prompts == [row.prompt for row in (*RETAIN, *EVERYDAY)]


def test_without_rows_to_be_kept() -> None:
    found = collect(Examples((), FORGET, (), ()))
    assert found is not None
    assert found.outside.shape == (0, 4)
    assert np.isfinite(found.inside).all()


# What the vectors say of it.


def test_the_nearest_text_is_another_rows_or_ones_own_answer() -> None:
    found = collect(EXAMPLES)
    assert found is not None
    vectors = units(1, len(found.texts))
    got = found.nearest_others(vectors)
    assert got.shape == (len(ROWS),)
    for number in range(len(ROWS)):
        first = int(np.flatnonzero(found.owner == number)[0])
        others = (found.owner != number) | found.stays
        assert got[number] == pytest.approx((vectors[others] @ vectors[first]).max(), abs=1e-6)


def test_a_lone_question_has_no_other() -> None:
    found = collect(Examples((), (Row("Who is it?"),), RETAIN, EVERYDAY))
    assert found is not None
    assert found.nearest_others(units(1, 1)).tolist() == [-1.0]


def test_scores_are_given_back_row_by_row() -> None:
    found = collect(EXAMPLES)
    assert found is not None
    scores = found.aligned([float(n) for n in range(len(ROWS))])
    assert len(scores) == len(FORGET)
    assert np.isnan([score for score, row in zip(scores, FORGET, strict=True) if row.is_name]).all()
    assert [s for s, row in zip(scores, FORGET, strict=True) if not row.is_name] == [*range(13)]
    assert np.isnan(found.aligned([])).all()


# Helpers.


@given(st.integers(0, 500))
def test_blocks_are_even_and_cover_all_rows(count: int) -> None:
    found = list(blocks(count))
    assert [row for first, last in found for row in range(first, last)] == list(range(count))
    sizes = [last - first for first, last in found]
    assert len(found) == min(count, 10)
    assert not sizes or max(sizes) - min(sizes) <= 1


@given(st.integers(0, 1200), st.integers(1, 30), st.integers(0, 2**32))
def test_nearest_is_a_plain_search(count: int, known: int, seed: int) -> None:
    queries, vectors = units(seed, count), units(seed + 1, known)
    found = nearest(queries, vectors)
    assert found.shape == (count,)
    if count:
        assert found == pytest.approx((queries @ vectors.T).max(axis=1), abs=1e-6)


def test_rows_are_taken_apart_once() -> None:
    assert collect(EXAMPLES) is collect(EXAMPLES)
    book = Examples((), tuple(Row(*pair) for pair in BOOK_ROWS), RETAIN, EVERYDAY)
    found = collect(book)
    assert found is not None and found.examples is book
