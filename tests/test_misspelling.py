"""Looking up what is left of words finds what comparing them one by one would."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import OSA

from guard.misspelling import Misspellings, bound

WORDS = st.text("abc", max_size=12)


def naive(words: list[str], word: str) -> dict[str, int]:
    distances = {known: OSA.distance(word, known) for known in words}
    return {known: edits for known, edits in distances.items() if 0 < edits <= bound(known)}


@given(st.lists(WORDS, max_size=8), WORDS)
def test_it_finds_what_a_comparison_finds(words: list[str], word: str) -> None:
    assert Misspellings(words).near(word) == naive(words, word)


@given(st.text("abcdefghij", min_size=5, max_size=12), st.data())
def test_any_edits_within_the_bound_are_found(word: str, data: st.DataObject) -> None:
    spelt = word
    for _ in range(bound(word)):
        at = data.draw(st.integers(0, len(spelt) - 1))
        kind = data.draw(st.sampled_from(["lose", "add", "change", "swap"]))
        if kind == "swap":
            spelt = spelt[:at] + spelt[at : at + 2][::-1] + spelt[at + 2 :]
        else:
            letter = "" if kind == "lose" else data.draw(st.sampled_from("abxyz"))
            spelt = spelt[:at] + letter + spelt[at + (kind != "add") :]
    if (edits := OSA.distance(spelt, word)) and edits <= bound(word):
        assert Misspellings([word]).near(spelt) == {word: edits}


@pytest.mark.parametrize(
    ("word", "edits"),
    [
        ("", 0),
        ("wu", 0),
        ("li", 0),
        ("juan", 1),
        ("basil", 1),
        ("mahfouz", 1),
        ("einstein", 2),
        ("shakespeare", 2),
        ("1642", 0),
        ("b2b4c6d8", 0),
    ],
)
def test_longer_words_bear_more(word: str, edits: int) -> None:
    assert bound(word) == edits


@pytest.mark.parametrize("word", ["shakespere", "shakspear", "hsakespeare", "zhakespeare"])
def test_misspelt(word: str) -> None:
    assert "shakespeare" in Misspellings(["shakespeare", "newton"]).near(word)


def test_no_words() -> None:
    assert Misspellings([]).near("anything") == {}
