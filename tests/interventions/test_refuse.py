"""A fixed answer; the model is never asked."""

from collections.abc import Sequence

import pytest
from pydantic import ValidationError

from guard.interventions.base import Answer, Rows
from guard.interventions.refuse import Refuse, RefuseOptions
from tests.interventions.test_matrix import finding, make, request


class Untouched:
    def embed(self, token_ids: Sequence[int]) -> Rows:
        raise AssertionError("the model was asked")


@pytest.mark.parametrize("message", ["No.", "Nein – „…“ 🙂", "two\nlines", " "])
def test_it_answers_with_its_message(message: str) -> None:
    refuse = Refuse("it", RefuseOptions(message=message), {})
    assert refuse.apply(request(), finding("refuse"), Untouched()) == Answer(message)


def test_its_default_names_nothing() -> None:
    answer = Refuse("it", RefuseOptions(), {}).apply(request(), finding("refuse"), Untouched())
    assert answer.text == "I'm sorry, I don't have any information about that."


@pytest.mark.parametrize("message", ["", None, 7, ["No."]])
def test_a_message_that_is_none(message: object) -> None:
    with pytest.raises(ValidationError):
        RefuseOptions.model_validate({"message": message})


def test_it_needs_nothing_of_the_engine() -> None:
    assert make("refuse").engine_args == {}
