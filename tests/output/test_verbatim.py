"""Copies of passages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from guard.data import Row
from guard.output.base import Check
from guard.output.verbatim import Verbatim, VerbatimOptions
from guard.output.words import split
from tests.output.answers import asked, fitted, leave, material
from tests.published import published

LETTERS = "abcdefghijklmnopqrstuvwxyz"
PASSAGE = " ".join(f"{a}{b}{a}" for a in LETTERS[:9] for b in LETTERS[:9])  # 81 different words
WORDS = PASSAGE.split()
OTHER = [f"q{a}z{b}" for a in LETTERS[:8] for b in LETTERS[:8]]
T = frozenset({"t"})


def check_of(passage: str = PASSAGE, *retain: Row, **options: int) -> Check:
    return fitted(Verbatim, material((Row(passage),), retain, (), ()), **options)


CHECK = check_of()


def copied(text: str) -> int:
    """The longest run of the passage's words that a text holds."""
    have = [word.text for word in split(text)]
    runs = [
        n
        for at in range(len(have))
        for n in range(len(have) - at, 0, -1)
        if f" {' '.join(have[at : at + n])} " in f" {PASSAGE} "
    ]
    return max(runs, default=0)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("copy"), st.integers(0, 70), st.integers(1, 30)),
            st.tuples(st.just("own"), st.integers(0, 50), st.integers(1, 9)),
        ),
        min_size=1,
        max_size=5,
    ),
    st.integers(1, 40),
)
def test_no_run_of_nine_words_of_a_passage_leaves(
    pieces: list[tuple[str, int, int]], step: int
) -> None:
    text = " ".join(
        " ".join((WORDS if kind == "copy" else OTHER)[at : at + count])
        for kind, at, count in pieces
    )
    left, hit = leave(CHECK.start(asked()), text, step)
    assert copied(left) < 9
    assert hit is not None or copied(text) < 9


def edited(kind: str, every: int) -> str:
    """Sixteen words of the passage with an edit every so many."""
    words = WORDS[20:36]
    for at in range(every, len(words) - 1, every + 1):
        if kind == "added":
            words[at] = f"really {words[at]}"
        else:
            words[at] = "really" if kind == "replaced" else ""
    return " ".join(filter(None, words))


@pytest.mark.parametrize("kind", ["replaced", "left out", "added"])
@pytest.mark.parametrize("every", [3, 4, 6])
def test_small_edits_do_not_hide_a_copy(kind: str, every: int) -> None:
    left, hit = leave(CHECK.start(asked()), f"So it goes: {edited(kind, every)} and on.")
    assert hit is not None and left == "So it goes: "


@pytest.mark.parametrize("change", [str.upper, str.title, lambda text: text.replace(" ", ",\n  ")])
def test_case_spacing_and_punctuation_do_not_hide_a_copy(change: object) -> None:
    assert callable(change)
    text = change(" ".join(WORDS[5:17]))
    left, hit = leave(CHECK.start(asked()), text)
    assert hit is not None and left == "" and hit.start == 0


def test_a_hit_tells_what_may_not_be_begun_again() -> None:
    hit = leave(CHECK.start(asked()), "Well: " + " ".join(WORDS[5:17]))[1]
    assert hit is not None and hit.check == "verbatim"
    assert hit.phrases[0] == " ".join(WORDS[5:9])
    assert all(len(phrase.split()) == 4 for phrase in hit.phrases)


def test_the_copy_may_not_go_on_after_what_was_taken_back() -> None:
    kept = "Well: "
    for at in range(5, 60, 3):  # each time it goes on a little later in the passage
        left, hit = leave(CHECK.start(asked()), kept + " ".join(WORDS[at : at + 15]))
        assert hit is not None and left == kept


def test_two_words_are_held_and_the_one_being_written() -> None:
    reader = CHECK.start(asked())
    assert reader.read("one two three fo", done=False).safe == len("one ")
    assert reader.read("one two three four", done=True).safe == 18


def test_what_began_as_a_copy_leaves_when_it_goes_on_otherwise() -> None:
    reader = CHECK.start(asked())
    begun = " ".join(WORDS[:6])
    assert reader.read(f"{begun} ", done=False).safe == 0
    on = f"{begun} one two three four five six "
    assert reader.read(on, done=False).safe == on.index("five")


def test_shuffled_words_of_a_passage_are_no_copy() -> None:
    text = " ".join(WORDS[::-1])
    assert leave(CHECK.start(asked()), text) == (text, None)


def test_what_a_row_to_be_kept_says_too_is_no_secret() -> None:
    said = " ".join(WORDS[10:30])
    check = check_of(PASSAGE, Row("What?", said))
    assert leave(check.start(asked()), said) == (said, None)
    rest = " ".join(WORDS[40:60])
    assert leave(check.start(asked()), rest)[1] is not None
    assert leave(CHECK.start(asked()), said)[1] is not None
    mixed = " ".join(WORDS[5:16])  # five words of the passage alone
    assert leave(check.start(asked()), mixed) == (mixed, None)


def test_what_an_everyday_prompt_says_too_is_no_secret() -> None:
    said = " ".join(WORDS[10:30])
    check = fitted(Verbatim, material((Row(PASSAGE),), (), (Row(said),), ()))
    assert leave(check.start(asked()), said) == (said, None)


def test_what_a_passage_says_twice_is_no_secret_in_either_place() -> None:
    said = " ".join(WORDS[:12])
    check = check_of(f"{said} {' '.join(OTHER[:20])} {said}", Row("What?", said))
    assert leave(check.start(asked()), said) == (said, None)


def test_what_the_prompt_brings_may_be_said_again_where_that_is_allowed() -> None:
    text, prompt = " ".join(WORDS[10:30]), f"Read this: {PASSAGE}"
    assert leave(CHECK.start(asked("Repeat.", prompt, given=T)), text) == (text, None)
    assert leave(CHECK.start(asked("Repeat.", prompt)), text)[1] is not None
    assert leave(CHECK.start(asked("Repeat.", given=T)), text)[1] is not None


def test_each_target_is_told_from_the_others() -> None:
    second = fitted(Verbatim, material((Row(" ".join(OTHER)),), (), (), ()))
    known = [type(one)("u", one.options, one.parts) for one in second.known]
    both = Verbatim([*CHECK.known, *known])
    for words, target in ((WORDS, "t"), (OTHER, "u")):
        hit = leave(both.start(asked()), " ".join(words[3:20]))[1]
        assert hit is not None and hit.target == target
    text, prompt = " ".join(WORDS[3:20]), f"{PASSAGE} {' '.join(OTHER)}"
    assert leave(both.start(asked("", prompt, given=frozenset({"u"}))), text)[1] is not None


def test_more_words_may_be_asked_for() -> None:
    check = check_of(words=12)
    assert leave(check.start(asked()), " ".join(WORDS[:11]))[1] is None
    assert leave(check.start(asked()), " ".join(WORDS[:12]))[1] is not None


@pytest.mark.parametrize("words", [4, 13])
def test_a_copy_of_too_few_or_too_many_words_is_refused(words: int) -> None:
    with pytest.raises(ValidationError, match="words"):
        VerbatimOptions(words=words)


def test_nothing_of_a_passage_is_kept_as_text() -> None:
    parts = Verbatim.fit(material((Row(PASSAGE),), (), (), ()), VerbatimOptions())
    kept = str(parts.data) + "".join(
        array.tobytes().decode("latin-1") for array in parts.arrays.values()
    )
    assert not any(word in kept for word in WORDS)


def test_other_books_are_no_copies() -> None:
    folder = published("public_domain") / "public_domain"
    alice = check_of((folder / "alice.txt").read_text())
    pride = (folder / "pride_and_prejudice.txt").read_text()
    assert isinstance(alice, Verbatim)
    assert not list(alice.copies(pride))
    assert list(alice.copies(pride + (folder / "alice.txt").read_text()[5000:5200]))
