"""The penalties on real logits, with the built-in model's tokenizer and embeddings."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from guard.steering.base import Engine
from guard.steering.meaning import meaning
from guard.steering.penalize import Penalize

SIZE = 49_152


def plan(*phrases: str, **more: Any) -> dict[str, Any]:
    points = [ord(char) for char in "\0".join(phrases)]
    return {"phrases": points, "alpha": 0.0, "beta": 0.0, "delta": 0.7, "answers": [], **more}


@pytest.fixture(scope="module")
def engine(served: Path, tokenizer: Any) -> Engine:
    return Engine(str(served), SIZE, (tokenizer.eos_token_id,), "cpu", tokenizer)


@pytest.fixture(scope="module")
def ids(tokenizer: Any) -> Any:
    return lambda text: tokenizer.encode(text, add_special_tokens=False)


def test_a_ban_outbids_any_bias(engine: Engine, ids: Any) -> None:
    *start, last = ids(" Skarvik")
    logits = torch.full((SIZE,), 100.0)
    logits[last] = 1e30
    Penalize([plan("Skarvik")], engine)(ids("Where?"), start, logits)
    assert logits[last] == float("-inf")
    assert torch.isfinite(logits).sum() > SIZE - 500


def test_the_soft_penalty_is_alpha_times_the_share(engine: Engine, ids: Any) -> None:
    output, following = ids(" fishing"), ids(" vill")[0]
    logits = torch.zeros(SIZE)
    Penalize([plan("fishing village", alpha=3.0)], engine)([], output, logits)
    said = " vill" if len(ids(" vill")) == 1 else " "
    depth = len("fishing") + len(said)
    assert logits[following] == pytest.approx(-3.0 * depth / len("fishing village"))
    assert logits[ids(" boat")[0]] == 0.0


def test_an_answer_cannot_complete_what_the_prompt_began(engine: Engine, ids: Any) -> None:
    *start, last = ids("She was born in Skarvik")
    logits = torch.zeros(SIZE)
    Penalize([plan("Skarvik")], engine)(start, [], logits)
    assert logits[last] == float("-inf")


def test_several_plans_add_up(engine: Engine, ids: Any) -> None:
    logits = torch.zeros(SIZE)
    both = [plan("1961"), plan("kiln", alpha=1.0)]
    Penalize(both, engine)([], ids("in 196"), logits)
    assert logits[ids("1")[0]] == float("-inf")
    fresh = torch.zeros(SIZE)
    Penalize(both, engine)([], ids("the kil"), fresh)
    assert fresh[ids("n")[0]] == float("-inf")


def test_fewer_logits_than_tokens(engine: Engine, ids: Any) -> None:
    logits = torch.zeros(100)
    Penalize([plan("Skarvik", "7", alpha=1.0)], engine)([], ids(" Skarvi"), logits)
    assert logits.shape == (100,)


def test_what_is_remembered_is_only_a_short_cut(engine: Engine, ids: Any) -> None:
    """The same object asked about answers in any order says what a new one says."""
    plans = [plan("Skarvik", "fishing village", "1961", alpha=1.0)]
    held = Penalize(plans, engine)
    texts = [" Skar", " Skarv", "", " a fishing", " a fishing", " a", " in 19", " in 1969", " Sk"]
    for text in texts:
        one, other = torch.zeros(SIZE), torch.zeros(SIZE)
        held(ids("Who?"), ids(text), one)
        Penalize(plans, engine)(ids("Who?"), ids(text), other)
        assert torch.equal(one, other), text


ANSWER = "Her father was a florist in Kuwait."


def test_words_that_bring_the_meaning_near_lose(engine: Engine, ids: Any) -> None:
    output = ids("The dad worked in Kuwait as a")
    florist, sailor = ids(" flor")[0], ids(" sailor")[0]
    logits = torch.full((SIZE,), -50.0)
    logits[florist], logits[sailor] = 2.0, 1.0
    before = logits.clone()
    answers = [sorted(ids(ANSWER))]
    Penalize([plan("zzzz", beta=5.0, delta=0.1, answers=answers)], engine)([], output, logits)
    lost = before - logits
    assert lost[florist] > lost[sailor] >= 0.0
    assert int((lost != 0).sum()) <= 20


def test_only_the_sentence_that_is_being_written_counts(engine: Engine, ids: Any) -> None:
    answers = [sorted(ids(ANSWER))]
    steering = Penalize([plan("zzzz", beta=5.0, delta=0.0, answers=answers)], engine)
    rows = []
    for before in ("", "Her father was a florist in Kuwait."):
        logits = torch.full((SIZE,), -50.0)
        logits[ids(" the")[0]] = 2.0
        steering([], ids(f"{before} It rains in"), logits)
        rows.append(logits)
    assert torch.equal(*rows)


def test_similarity_tells_a_paraphrase_from_another_answer(engine: Engine, ids: Any) -> None:
    found = meaning(engine)
    answers = found.vectors([ids(ANSWER)])
    assert np.linalg.norm(answers) == pytest.approx(1.0, abs=1e-5)
    near, far = (
        found.nearest(ids(text), ids("."), answers)[0]
        for text in ("In Kuwait the father earned his living as a florist", "Paris lies on a river")
    )
    assert near > 0.6 > 0.4 > far
