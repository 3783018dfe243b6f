"""An answer's beginning said again, and its old way barred; with the built-in model's tokenizer."""

from pathlib import Path
from typing import Any

import pytest
import torch

from guard.errors import InterventionError
from guard.steering.base import Engine
from guard.steering.penalize import Penalize
from guard.steering.replay import Replay

SIZE = 49_152


@pytest.fixture(scope="module")
def engine(served: Path, tokenizer: Any) -> Engine:
    return Engine(str(served), SIZE, (tokenizer.eos_token_id,), "cpu", tokenizer)


@pytest.fixture(scope="module")
def ids(tokenizer: Any) -> Any:
    return lambda text: tokenizer.encode(text, add_special_tokens=False)


def plan(tokens: list[int], *phrases: str, avoid: tuple[int, ...] = ()) -> dict[str, Any]:
    points = [ord(char) for char in "\0".join(phrases)]
    return {"tokens": tokens, "avoid": list(avoid), "phrases": points}


def test_what_was_said_is_said_again_whatever_the_model_likes(engine: Engine, ids: Any) -> None:
    said = ids("She was born in")
    replay = Replay([plan(said, "Skarvik")], engine)
    for done in range(len(said)):
        logits = torch.randn(SIZE)
        logits[said[done]] = float("-inf")  # a ban that came later does not undo what has left
        replay(ids("Where?"), said[:done], logits)
        assert torch.isfinite(logits).nonzero().flatten().tolist() == [said[done]]


def test_behind_it_nothing_begins_what_must_not_leave(engine: Engine, ids: Any) -> None:
    said, next_ = ids("She was born in a fishing"), ids(" vill")[0]
    old = ids(" Skarvik")[0]  # too little of the word to tell it by: the token itself is barred
    logits = torch.zeros(SIZE)
    replay = Replay([plan(said, "Skarvik", "fishing village", avoid=(old,))], engine)
    replay(ids("Where?"), said, logits)
    barred = set(torch.isinf(logits).nonzero().flatten().tolist())
    assert {next_, old, ids(" village")[0]} <= barred and ids(" Bergen")[0] not in barred
    assert len(barred) < 100


def test_later_it_changes_nothing_and_the_ban_goes_on(engine: Engine, ids: Any) -> None:
    said = ids("She was born in")
    *start, last = ids(" Skarvik")
    logits = torch.zeros(SIZE)
    Replay([plan(said, "Skarvik")], engine)(ids("Where?"), [*said, *ids(" a"), *start], logits)
    assert torch.isfinite(logits).all()
    points = [ord(char) for char in "Skarvik"]
    ban = {"phrases": points, "alpha": 2.0, "beta": 0.0, "delta": 1.0, "answers": [], "rolled": 1}
    Penalize([ban], engine)(ids("Where?"), [*said, *ids(" a"), *start], logits)
    assert logits[last] == float("-inf")


def test_an_answer_is_taken_back_to_its_very_beginning(engine: Engine, ids: Any) -> None:
    logits = torch.zeros(SIZE)
    Replay([plan([], avoid=(7,))], engine)(ids("Where?"), [], logits)
    assert torch.isinf(logits).nonzero().flatten().tolist() == [7]


def test_what_the_prompt_has_begun_is_not_completed(engine: Engine, ids: Any) -> None:
    *start, last = ids(" Skarvik")
    logits = torch.zeros(SIZE)
    Replay([plan([], "Skarvik")], engine)([*ids("Say"), *start], [], logits)
    assert logits[last] == float("-inf")


def test_a_token_that_the_model_does_not_know_is_not_barred(engine: Engine, ids: Any) -> None:
    first = ids(" Skarvik")[0]
    logits = torch.zeros(first)  # a model may know fewer tokens than its tokenizer
    Replay([plan([], "Skarvik", "a")], engine)(ids("Where?"), [], logits)
    assert torch.isinf(logits).any() and torch.isfinite(logits).any()


def test_bans_come_before_it(engine: Engine) -> None:
    assert Replay.order > Penalize.order


@pytest.mark.parametrize("token", [-1, SIZE])
def test_a_token_that_is_none_is_refused(engine: Engine, token: int) -> None:
    for wrong in (plan([token]), plan([], avoid=(token,))):
        with pytest.raises(InterventionError, match="out of range"):
            Replay([wrong], engine)
