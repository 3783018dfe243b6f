"""What has come, what may leave, and where an answer is taken back to."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.detectors.base import Vectors
from guard.errors import OutputError
from guard.output.base import Claim, Hit, Reader, Reading
from guard.output.line import Leave, Line


class Banned(Reader):
    """Lets nothing go that could become a word; what it is asked to weigh decides about another."""

    def __init__(self, word: str, weighed: str = "\0") -> None:
        self.word, self.weighed, self.known = word, weighed, dict[int, bool]()

    def read(self, text: str, *, done: bool) -> Reading:
        at, doubt = text.find(self.word), text.find(self.weighed)
        if doubt >= 0 and doubt not in self.known:
            return Reading(doubt, claims=(Claim("t", doubt, len(text), text[doubt:]),))
        if doubt >= 0 and self.known[doubt] and (at < 0 or doubt < at):
            return Reading(doubt, Hit("b", "t", doubt, doubt + 1))
        if at >= 0:
            return Reading(at, Hit("b", "t", at, at + len(self.word), (self.word,)))
        held = next((n for n in range(len(self.word), 0, -1) if text.endswith(self.word[:n])), 0)
        return Reading(len(text) if done else len(text) - held)

    def weigh(self, claim: Claim, vector: Vectors) -> None:
        self.known[claim.start] = bool(vector[0] > 0)


PIECES = ["a", "bad", " b", "b", "ad", " c", None, "é"]


def line(*readers: Reader) -> Line:
    return Line(readers, lambda token: PIECES[token])


def test_what_is_safe_leaves_in_whole_tokens() -> None:
    found = line(Banned("bad"))
    found.feed([0, 2], "a b")
    assert found.read(done=False) == [] and found.hit is None
    assert found.leave(done=False) == Leave(1, 1)  # " b" ends in what may begin the word
    found.feed([5], " c")
    found.read(done=False)
    assert found.leave(done=False) == Leave(3, 5) and found.leave(done=False) is None


def test_a_hit_is_taken_back_to_the_last_token_before_it() -> None:
    found = line(Banned("bad"))
    found.feed([0, 2, 4], "a bad")
    found.read(done=False)
    assert found.hit is not None and found.hit.start == 2
    assert found.leave(done=False) == Leave(1, 1)
    assert found.kept() == Leave(1, 1)  # the second token holds the word's first letter


def test_half_a_character_does_not_leave_nor_is_it_kept() -> None:
    found = line(Banned("bad"))
    found.feed([0, 6], "a")
    found.read(done=False)
    assert found.leave(done=False) == Leave(1, 1)
    found.feed([7, 1], "ébad")
    found.read(done=False)
    assert found.kept() == Leave(3, 2)


def test_at_the_end_all_leaves() -> None:
    found = line(Banned("bad"))
    found.feed([0, 2, 6], "a b")  # the last token says nothing: an end
    found.read(done=True)
    assert found.leave(done=True) == Leave(3, 3)


def test_a_last_token_without_text_leaves_by_itself() -> None:
    found = line(Banned("bad"))
    found.feed([0], "a")
    found.read(done=False)
    assert found.leave(done=False) == Leave(1, 1)
    found.feed([6], "")
    found.read(done=True)
    assert found.leave(done=True) == Leave(2, 1)


def test_a_text_that_lags_behind_its_tokens_holds_them_back() -> None:
    found = line(Banned("bad"))
    found.feed([0, 5], "a")  # the engine keeps two characters for a stop string
    found.read(done=False)
    assert found.leave(done=False) == Leave(1, 1)


def test_where_the_engine_tells_no_text_tokens_do() -> None:
    found = line(Banned("bad"))
    found.feed([0, 5, 1], None)
    found.read(done=False)
    assert found.text == "a cbad" and found.kept() == Leave(2, 3)


@pytest.mark.parametrize(("weight", "hit"), [(1.0, True), (-1.0, False)])
def test_a_claim_is_weighed_before_it_leaves(weight: float, hit: bool) -> None:
    found = line(Banned("bad", weighed="c"))
    found.feed([0, 5], "a c")
    (claim,) = found.read(done=False)
    assert claim.text == "c" and found.leave(done=False) == Leave(1, 1)
    found.weigh(np.array([[weight]], np.float32))
    assert found.read(done=False) == [] and (found.hit is not None) == hit
    assert found.leave(done=False) == (None if hit else Leave(2, 3))


def test_what_was_not_weighed_does_not_leave_at_the_end_either() -> None:
    found = line(Banned("bad", weighed="c"))
    found.feed([0, 5], "a c")
    assert found.read(done=True) and found.leave(done=True) == Leave(1, 1)


@pytest.mark.parametrize("words", [("bad", "c"), ("c", "bad")])
def test_of_several_checks_the_one_that_lets_go_least_counts(words: tuple[str, str]) -> None:
    found = line(*map(Banned, words))
    found.feed([0, 2], "a b")
    found.read(done=False)
    assert found.leave(done=False) == Leave(1, 1)
    found.feed([4, 5], "ad c")
    found.read(done=False)
    assert found.hit is not None and found.hit.start == 2


def test_a_check_that_takes_back_what_it_let_go_is_an_error() -> None:
    class Fickle(Banned):
        def read(self, text: str, *, done: bool) -> Reading:
            return Reading(len(text) if len(text) < 3 else 0)

    found = line(Fickle("x"))
    found.feed([0], "a")
    found.read(done=False)
    found.leave(done=False)
    found.feed([1], "bad")
    with pytest.raises(OutputError, match="takes back"):
        found.read(done=False)


def test_what_had_left_before_may_be_held_again_and_stays_left() -> None:
    """Released when "c" came behind "b"; said again, "b" may become the word."""
    found = line(Banned("bad"))
    found.resume(Leave(2, 3))
    found.feed([0], "a")
    found.read(done=False)
    assert found.leave(done=False) is None
    found.feed([2], " b")
    found.read(done=False)
    assert found.hit is None and found.leave(done=False) is None
    found.feed([4], "ad")
    found.read(done=False)
    assert found.hit is not None and found.kept() == Leave(2, 3)
    other = line(Banned("bad"))
    other.resume(Leave(2, 3))
    other.feed([0, 2, 5], "a b c")
    other.read(done=True)
    assert other.leave(done=True) == Leave(3, 5)


TOKENS = st.lists(st.sampled_from([0, 1, 2, 3, 4, 5, 7]), max_size=30)


@given(TOKENS, st.lists(st.integers(1, 4), max_size=30))
def test_whatever_comes_no_leak_leaves_and_what_left_is_the_text_of_first_tokens(
    tokens: Sequence[int], sizes: Sequence[int]
) -> None:
    found, left, at = line(Banned("bad")), "", 0
    for size in [*sizes, len(tokens)]:
        some = tokens[at : at + size]
        at += len(some)
        found.feed(some, "".join(PIECES[token] or "" for token in some))
        done = at == len(tokens) and size == len(tokens)
        found.read(done=done)
        leave = found.leave(done=done)
        if leave is not None:
            left = found.text[: leave.chars]
            assert left == "".join(PIECES[token] or "" for token in tokens[: leave.tokens])
        assert "bad" not in left
        if found.hit is not None:
            kept = found.kept()
            text = "".join(PIECES[token] or "" for token in tokens[: kept.tokens])
            assert text.startswith(left) and "bad".find(text[found.hit.start :]) == 0
            return
        if done:
            break
    assert left == "".join(PIECES[token] or "" for token in tokens)
