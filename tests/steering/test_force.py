"""A forced answer: which token is next, and what its row tells."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guard.errors import InterventionError
from guard.steering import STEERINGS
from guard.steering.base import Engine, Steering
from guard.steering.force import FLOOR, Force, carrier, told
from guard.steering.rows import Rows

SIZE = 9
ENGINE = Engine(folder="", vocabulary=SIZE, eos=(0,), device="cpu")
SOME = st.floats(min_value=-60, max_value=60, width=32)


def read(logits: torch.Tensor, token: int) -> float:
    """What an engine's log-probabilities of a row tell."""
    logs = logits.log_softmax(-1)
    return told(float(logs[token]), float(logs[carrier(token, SIZE)]))


@given(st.lists(SOME, min_size=SIZE, max_size=SIZE), st.integers(0, SIZE - 1))
def test_the_forced_token_is_sampled_and_its_likelihood_told(
    values: list[float], token: int
) -> None:
    logits = torch.tensor(values)
    wanted = float(logits.double().log_softmax(-1)[token])
    Force([{"tokens": [token]}], ENGINE)([1, 2], [], logits)
    assert int(logits.argmax()) == token
    assert read(logits, token) == pytest.approx(wanted, abs=1e-4)
    assert int((logits > float("-inf")).sum()) == 2


def test_each_step_forces_its_own_token() -> None:
    force = Force([{"tokens": [4, 8, 0]}], ENGINE)
    for done in ([], [4], [4, 8]):
        logits = torch.zeros(SIZE)
        force([1], done, logits)
        assert int(logits.argmax()) == [4, 8, 0][len(done)]


def test_behind_the_answer_nothing_is_changed() -> None:
    logits = torch.arange(float(SIZE))
    Force([{"tokens": [4]}], ENGINE)([1], [4], logits)
    assert torch.equal(logits, torch.arange(float(SIZE)))


@pytest.mark.parametrize("banned", [[3], list(range(SIZE))])
def test_a_banned_token_has_no_likelihood(banned: list[int]) -> None:
    logits = torch.zeros(SIZE)
    logits[banned] = float("-inf")
    Force([{"tokens": [3]}], ENGINE)([1], [], logits)
    assert int(logits.argmax()) == 3
    assert read(logits, 3) == pytest.approx(FLOOR)


@pytest.mark.parametrize("token", [-1, SIZE])
def test_a_token_out_of_range_is_refused(token: int) -> None:
    with pytest.raises(InterventionError, match="out of range"):
        Force([{"tokens": [token]}], ENGINE)


def test_it_comes_behind_whatever_else_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ban(Steering):
        kind = "zzz"

        def __call__(self, prompt: Any, output: Any, logits: torch.Tensor) -> None:
            logits[3] = float("-inf")

    kinds = {"zzz": Ban, "force": Force}
    monkeypatch.setattr(type(STEERINGS), "get", lambda self, kind: kinds[kind])
    rows = Rows(ENGINE)
    rows.add(0, {"force": [{"tokens": [3]}], "zzz": [{}]}, [1], [])
    logits = torch.zeros(1, SIZE)
    rows.apply(logits)
    assert read(logits[0], 3) == pytest.approx(FLOOR)
