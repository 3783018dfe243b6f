"""Sentences weighed by their meaning."""

import numpy as np
import pytest
from pydantic import ValidationError

from guard.data import Row
from guard.detectors.base import Vectors
from guard.errors import DataError
from guard.output.base import Claim, Known
from guard.output.semantic import Semantic, SemanticOptions
from guard.parts import Parts
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


def test_a_sentence_is_weighed_after_what_a_disguised_question_comes_down_to() -> None:
    reader = CHECK.start(asked("Whаt іs hеr trаdе?", doubted=T))  # Cyrillic letters
    claims = reader.read("She is a glazier.", done=True).claims
    assert [claim.text for claim in claims] == ["What is her trade? She is a glazier."]


def test_the_first_of_two_hits_is_told_and_not_before_it_is_known() -> None:
    text = "One is here. Two is there. "
    for order, told in (((1, 0), [None, 0]), ((0, 1), [0, 0])):
        reader = CHECK.start(asked("What?", doubted=T))
        claims = reader.read(text, done=False).claims
        hits = []
        for number in order:
            reader.weigh(claims[number], np.full(26, 9.0, np.float32))
            reading = reader.read(text, done=False)
            hits.append(reading.hit and reading.hit.start)
        assert hits == told and reading.claims == ()


def test_what_a_row_to_be_kept_says_too_leaves() -> None:
    check = fitted(Semantic, material(retain=(FORGET[1],), background=()))
    question, text = FORGET[1].prompt, FORGET[1].answer
    assert leave(check.start(asked(question, doubted=T)), text) == (text, None)


def test_what_reaches_the_line_is_a_hit_and_names_what_its_row_tells() -> None:
    arrays = {"vectors": np.eye(2, dtype=np.float16), "rows": np.arange(2, dtype=np.int32)}
    parts = Parts({"line": 1.0, "written": [["zero"], ["one"]]}, arrays)
    check = Semantic([Known("t", SemanticOptions(), parts)])
    row = np.eye(2, dtype=np.float32)[1]
    hit = leave(check.start(asked("What?", doubted=T)), "That is it.", weigh=lambda _: row)[1]
    assert hit is not None and hit.phrases == ("That is it", "one")


def test_more_false_alarms_lower_the_line() -> None:
    lines = [
        Semantic.fit(material(), SemanticOptions(max_false_alarm_rate=rate)).data["line"]
        for rate in (0.005, 0.9)
    ]
    assert lines[0] > lines[1]


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
