"""Words of a growing answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.normalize import fold
from guard.output.words import Word, Words, split

SIGNS = st.text(
    st.sampled_from("aBcÉ9 .-'\u200b\u0301é½ﬁ東京ß\n_") | st.characters(codec="utf-8"), max_size=40
)


def texts(words: list[Word]) -> list[str]:
    return [word.text for word in words]


@given(SIGNS, st.lists(st.integers(1, 7), min_size=1))
def test_words_do_not_depend_on_the_pieces_that_a_text_comes_in(
    text: str, sizes: list[int]
) -> None:
    reader, found, at, turn = Words(), list[Word](), 0, 0
    while at < len(text):
        at = min(at + sizes[turn % len(sizes)], len(text))
        turn += 1
        words, last = reader.read(text[:at], done=at == len(text))
        found += words
        assert last is None or not found or last.start >= found[-1].end
    assert found == split(text)


@given(SIGNS)
def test_words_say_what_the_folded_text_says(text: str) -> None:
    assert "".join(texts(split(text))) == fold(text).text.replace(" ", "")


@given(SIGNS)
def test_a_word_stands_where_it_says(text: str) -> None:
    for word in split(text):
        assert word.text in fold(text[word.start : word.end]).text.replace(" ", "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("BasilMahfouz", ["basil", "mahfouz"]),
        ("born1956", ["born", "1956"]),
        ("Ba\u200bsil", ["basil"]),
        ("JOSÉ José", ["jose", "jose"]),
        ("don't", ["don", "t"]),
        ("東京 Tokyo", ["東", "京", "tokyo"]),
    ],
)
def test_a_word_is_told_from_the_next(text: str, words: list[str]) -> None:
    assert texts(split(text)) == words


def test_a_word_that_may_go_on_is_not_whole_yet() -> None:
    reader = Words()
    assert reader.read("Basil Mah", done=False) == (
        [Word("basil", 0, 5)],
        Word("mah", 6, 9),
    )
    assert reader.read("Basil Mahfouz ", done=False) == ([Word("mahfouz", 6, 13)], None)


def test_a_sign_that_stands_for_two_words_is_read_once() -> None:
    reader = Words()
    assert reader.read("½", done=False) == ([], Word("1", 0, 1))
    assert reader.read("½ ", done=False) == ([Word("1", 0, 1), Word("2", 0, 1)], None)
