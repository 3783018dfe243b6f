"""Lines between what is forgotten and what is kept."""

from collections.abc import Sequence

import numpy as np
import pytest

from guard.data import Row
from guard.detectors.base import Vectors
from guard.errors import DataError
from guard.output.meaning import Claims, claim, kept_claims
from tests.output.answers import FORGET, Letters


def claims(rows: tuple[Row, ...] = FORGET) -> Claims:
    found = Claims.of(rows, Letters())
    assert found is not None
    return found


def test_a_claim_is_read_after_its_question() -> None:
    assert claim("Where? ", " There.") == "Where? There."
    assert claim("", "There.") == "There."


def test_each_sentence_and_the_whole_answer_are_claims() -> None:
    read: list[str] = []

    def encode(texts: Sequence[str]) -> Vectors:
        read.extend(texts)
        return Letters()(texts)

    rows = [Row("Q?", "One. Two."), Row("It is a passage of some length, one that is its answer.")]
    assert Claims.of(rows, encode) is not None
    assert read == ["Q? One.", "Q? Two.", "Q? One. Two.", rows[1].prompt]
    some = Claims.of(FORGET, Letters(), among={1, 3})
    assert some is not None and set(some.rows.tolist()) == {1, 3}
    assert Claims.of(FORGET, Letters(), among=()) is None


def test_a_row_s_own_sentence_is_nearest_to_it() -> None:
    vector = Letters()([claim(FORGET[2].prompt, FORGET[2].answer)])[0]
    value, row = claims().nearest(vector)
    assert row == 2 and value == pytest.approx(1, abs=1e-5)
    assert claims().nearest(vector, frozenset({1}))[1] == 1


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5])
def test_no_more_than_the_share_of_kept_claims_reaches_the_line(rate: float) -> None:
    texts = [f"{'ab' * n} {'x' * (n % 7)} kept" for n in range(300)]
    line = claims().line(texts, [], rate, Letters())
    scores = (Letters()(texts) @ claims().vectors.T).max(axis=1)
    assert np.mean(scores >= line) <= rate
    assert np.mean(scores >= line) >= rate - 0.02


def test_few_neighbours_are_not_outvoted_by_many_everyday_claims() -> None:
    near = claim(FORGET[0].prompt, FORGET[0].answer)
    line = claims().line([near], ["zzz"] * 1000, 0.005, Letters())
    assert line > claims().nearest(Letters()([near])[0])[0]
    assert claims().line(["zzz"] * 1000, [near], 0.005, Letters()) == line


def test_without_rows_to_be_kept_no_line_can_be_drawn() -> None:
    with pytest.raises(DataError, match="retain: give"):
        claims().line([], [], 0.005, Letters())


def test_sentences_of_answers_and_rows_without_any_are_kept() -> None:
    rows = [Row("Q?", "One. Two."), Row("What. Now?")]
    assert kept_claims(rows) == [("Q?", "One."), ("Q?", "Two."), ("", "What. Now?")]
