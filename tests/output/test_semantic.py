"""Sentences weighed by their meaning."""

import numpy as np
import pytest
from pydantic import ValidationError

from guard.data import Row
from guard.detectors.base import Vectors
from guard.errors import DataError
from guard.output.base import Claim
from guard.output.semantic import Semantic, SemanticOptions
from tests.output.answers import FORGET, asked, fitted, leave, material

CHECK = fitted(Semantic)
T = frozenset({"t"})
TEXT = "The sea is wide. " + FORGET[1].answer


def test_a_sentence_that_says_what_a_forget_row_says_does_not_leave() -> None:
    left, hit = leave(CHECK.start(asked(FORGET[1].prompt, doubted=T)), TEXT, step=3)
    assert left == "The sea is wide. "[: len(left)] and hit is not None
    assert hit.phrases[0] in TEXT


def test_it_may_not_begin_again_in_the_same_words() -> None:
    hit = leave(CHECK.start(asked(FORGET[1].prompt, doubted=T)), FORGET[1].answer)[1]
    assert hit is not None and hit.phrases[0] == "Odalys Brennick is a"


def test_other_targets_are_not_weighed() -> None:
    reader = CHECK.start(asked(FORGET[1].prompt))
    assert reader.read("Odalys", done=False).safe == 6
    given = asked(FORGET[1].prompt, doubted=T, given=T)
    assert leave(CHECK.start(given), TEXT) == (TEXT, None)


def test_a_sentence_is_held_until_it_is_weighed_and_then_leaves() -> None:
    def far(_: Claim) -> Vectors:
        vector: Vectors = np.eye(1, 26, 25, dtype=np.float32)[0]
        return vector

    reader = CHECK.start(asked("What?", doubted=T))
    assert reader.read("The sea is", done=False).safe == 0
    reading = reader.read("The sea is wide. And", done=False)
    assert [(c.start, c.end, c.text) for c in reading.claims] == [(0, 16, "What? The sea is wide.")]
    reader.weigh(reading.claims[0], far(reading.claims[0]))
    assert reader.read("The sea is wide. And", done=False).safe == 16
    assert leave(CHECK.start(asked("What?", doubted=T)), TEXT, weigh=far) == (TEXT, None)


def test_rows_without_answers_have_nothing_to_be_weighed() -> None:
    check = fitted(Semantic, material((Row("Who is she?"),)))
    assert leave(check.start(asked(doubted=T)), TEXT) == (TEXT, None)


def test_it_needs_rows_to_be_kept() -> None:
    with pytest.raises(DataError, match="retain: give"):
        Semantic.fit(material(retain=(), background=()), SemanticOptions())


@pytest.mark.parametrize("rate", [0, 1, -0.1])
def test_a_share_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(ValidationError):
        SemanticOptions(max_false_alarm_rate=rate)
