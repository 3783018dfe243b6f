"""Names that are nearly written are names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.output.misspelt import Nearly, NearlyWalk
from guard.output.words import Words, split

NAMES = Nearly([("william shakespeare", 1), ("shakespeare", 1), ("isaac newton", 2), ("li wu", 3)])


def found(text: str) -> list[tuple[str, int]]:
    walk = NearlyWalk(NAMES)
    return [(text[m.start : m.end], m.payload) for w in split(text) for m in walk.step(w)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("It was Shakespear.", "Shakespear"),
        ("a Shakespearean play", "Shakespearean"),
        ("by Wiliam Shakspeare,", "Wiliam Shakspeare"),
        ("Sir Issac Newton fell", "Issac Newton"),
        ("Sir Isaac Newtown", "Isaac Newtown"),
        ("Isaac Newtonian", "Isaac Newtonian"),
        ("Li Wu", "Li Wu"),
    ],
)
def test_a_name_that_is_nearly_written_is_found(text: str, said: str) -> None:
    assert said in [name for name, _ in found(text)]


@pytest.mark.parametrize(
    "text",
    ["Newton and Issac", "He shakes a spear.", "Isaac bought a nation", "Li Wa", "a newt on ice"],
)
def test_what_is_no_name_is_not(text: str) -> None:
    assert found(text) == []


def test_only_an_ending_may_follow_what_is_no_name() -> None:
    walk = NearlyWalk(Nearly([("ada wu", 1)], [("norwich", 2), ("seventeen chairs", 3)]))
    text = "Norwichian Norwixh seventeenth chairs, Ada Wu"
    assert [m.payload for w in split(text) for m in walk.step(w)] == [2, 3, 1]


@pytest.mark.parametrize(
    ("text", "stands"),
    [
        *(("newtonings", "newton"), ("newtonesque", "newtonesque"), ("lundian", "lundian")),
        *(("newtan", "newton"), ("mewton", "mewton")),  # who misspells a name begins it rightly
    ],
)
def test_a_word_stands_for_what_it_begins_like_with_a_short_ending_or_few_edits(
    text: str, stands: str
) -> None:
    assert Nearly([("newton", 1), ("lund", 2)]).word(text)[0] == stands


def test_a_common_word_is_no_misspelling_of_a_name_of_one_word() -> None:
    walk = NearlyWalk(Nearly([("charlot", 1)]))
    assert [m.payload for w in split("a chariot, charlots") for m in walk.step(w)] == [1]


@given(
    st.sampled_from(
        ["It was Shakespear again.", "So Wiliam Shakspeare, he", "Sir Issac Newton is"]
    ),
    st.lists(st.integers(1, 4), min_size=30, max_size=30),
)
def test_a_name_is_held_from_its_first_letters_on(text: str, sizes: list[int]) -> None:
    walk, words, at, safe = NearlyWalk(NAMES), Words(), 0, 0
    for size in sizes:
        at = min(at + size, len(text))
        whole, last = words.read(text[:at], done=at == len(text))
        for word in whole:
            for match in walk.step(word):
                assert match.start >= safe
        held = walk.held(last)
        safe = max(safe, at if held is None else held)
