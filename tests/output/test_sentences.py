"""Sentences of a growing answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.output.sentences import Sentences, sentences


@given(st.text(st.sampled_from("aB .!?\"'”\n。3"), max_size=60), st.integers(1, 9))
def test_sentences_do_not_depend_on_the_pieces_that_a_text_comes_in(text: str, step: int) -> None:
    reader, found = Sentences(), list[tuple[int, int]]()
    for at in [*range(step, len(text), step), len(text)]:
        found += reader.read(text[:at], done=at == len(text))
    assert found == Sentences().read(text, done=True)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("It is 3.14 long.", ["It is 3.14 long."]),
        ("J. Smith came.", ["J. Smith came."]),
        ('She said "no." Then she left.', ['She said "no."', "Then she left."]),
        ("a\nb", ["a", "b"]),
        ("一。二", ["一。", "二"]),
        ("", []),
    ],
)
def test_a_sentence_ends_where_a_reader_would_pause(text: str, found: list[str]) -> None:
    assert sentences(text) == found


def test_a_text_without_full_stops_is_cut() -> None:
    found = sentences("word " * 300)
    assert len(found) > 2
    assert max(map(len, found)) <= 400
    assert " ".join(found).split() == ["word"] * 300
