"""Phrases in a growing text."""

import pytest

from guard.output.phrases import Phrases, Walk
from guard.output.words import Words, split

PHRASES = Phrases((p, p) for p in ("basil mahfouz", "mahfouz", "asian", "4 march", "1980s"))


@pytest.mark.parametrize(
    "text",
    [
        *("Basil Mahfouz", "BASIL  mahfouz", "Básil-Mahfouz", "BasilMahfouz", "Ba sil Mah fouz"),
        *("b.a.s.i.l m.a.h.f.o.u.z", "Ba\u00adsil Mah\u200bfouz", "basil_mahfouz"),
    ],
)
def test_a_phrase_is_found_however_it_is_written(text: str) -> None:
    found = PHRASES.find(f"Yes, {text}!")
    assert (5, 5 + len(text), "basil mahfouz") in [tuple(match) for match in found]


@pytest.mark.parametrize("text", ["as Ian said", "Eurasian", "mahfouzian", "14 march", "4 marches"])
def test_what_is_no_phrase_is_not_found(text: str) -> None:
    assert not PHRASES.find(text)


def test_a_phrase_of_six_letters_counts_however_it_is_spaced() -> None:
    assert Phrases([("malkin", 1)]).find("a mal kin") and not Phrases([("malki", 1)]).find("mal ki")


def test_a_decade_is_found_as_it_is_written() -> None:
    assert [match.payload for match in PHRASES.find("in the 1980s")] == ["1980s"]


def test_a_phrase_is_held_from_its_first_word_on_and_no_longer_than_it_may_come() -> None:
    walk, words = Walk(PHRASES), Words()
    held = []
    text = "The Basil Mah Bas"
    for at in range(1, len(text) + 1):
        whole, last = words.read(text[:at], done=False)
        for word in whole:
            walk.step(word)
        held.append(walk.held(last))
    assert held == [None] * 4 + [4] * 9 + [4] + [14] * 3


def test_a_phrase_may_have_several_owners() -> None:
    both = Phrases([("kiln", 1), ("kiln", 2)])
    assert sorted(match.payload for match in both.find("a kiln")) == [1, 2]
    assert [word.text for word in split("a kiln")] == ["a", "kiln"]
