"""The ways of writing a name, and the names that a text holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.data import Row
from guard.names import distinctive, proper_phrases, variants
from guard.normalize import fold


def test_variants_of_two_words() -> None:
    found = variants("William Shakespeare")
    full = {form for form, value in found.items() if value == 1.0}
    assert full == {
        "william shakespeare",
        "shakespeare william",
        "w shakespeare",
        "williamshakespeare",
    }
    assert found.keys() - full == {"shakespeare"}
    assert found["shakespeare"] == pytest.approx(11 / 18)


def test_variants_of_three_words() -> None:
    found = variants("Ada Byron Lovelace")
    for form in (
        "ada byron lovelace",
        "ada lovelace",
        "ada b lovelace",
        "a b lovelace",
        "a lovelace",
        "lovelace ada",
        "lovelace ada byron",
        "adabyronlovelace",
    ):
        assert found[form] == 1.0
    assert found["lovelace"] < 1.0
    assert "ada" not in found and "byron" not in found


@pytest.mark.parametrize(
    ("name", "form"),
    [("Basil Mahfouz Al-Kuwaiti", "basil al kuwaiti"), ("Vincent Willem van Gogh", "v van gogh")],
)
def test_a_particle_stays_with_its_surname(name: str, form: str) -> None:
    assert variants(name)[form] == 1.0


@pytest.mark.parametrize("name", ["Plato", "牛顿", "X", "…Plato!"])
def test_a_single_word_is_itself(name: str) -> None:
    assert variants(name) == {fold(name).text: 1.0}


def test_a_short_surname_says_nothing_alone() -> None:
    assert "wu" not in variants("Chien Wu")
    assert variants("Chien Wu")["chien wu"] == 1.0


@given(st.text(min_size=1, max_size=30).filter(lambda text: fold(text).text))
def test_variants_properties(name: str) -> None:
    found = variants(name)
    assert found[fold(name).text] == 1.0
    assert all(0 < value <= 1.0 for value in found.values())
    assert all(form == fold(form).text for form in found)


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("Who wrote Romeo and Juliet?", ["romeo and juliet"]),
        ("In 1642 Newton was born.", ["1642 newton"]),
        ("He studied at Trinity College in Cambridge.", ["trinity college in cambridge"]),
        ("Describe Hamlet.", ["hamlet"]),
        ("She lived by the sea.", []),
        ("Winter is cold.", []),
        ("They met. Berlin was grey.", []),
        ("They met in Berlin. Paris was far.", ["berlin"]),
        ("the works of Tolstoy", ["tolstoy"]),
        ("lower case only", []),
        ("", []),
        ("Who was Ludwig van Beethoven?", ["ludwig van beethoven"]),
        ("Was she the Queen of?", ["queen"]),
    ],
)
def test_proper_phrases(text: str, phrases: list[str]) -> None:
    assert proper_phrases(text) == phrases


@given(st.text())
def test_any_text_has_phrases_that_are_folded(text: str) -> None:
    for phrase in proper_phrases(text):
        assert phrase == fold(phrase).text
        assert phrase in fold(text).text


def test_what_neighbours_say_too_is_not_distinctive() -> None:
    forget = [Row("Was Zweig born in Vienna?", "He read Montaigne in Petropolis.")]
    others = [Row("Is VIENNA large?")]
    assert distinctive(forget, others) == ["zweig", "montaigne in petropolis"]
    assert distinctive(forget, others, skip=["zweig"]) == ["montaigne in petropolis"]
