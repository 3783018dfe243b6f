"""Scoring given answers on a real server: exact, through the guard, and for evaluators only."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from adapters.batches import encode
from adapters.loading import load
from adapters.scores import mean_logs
from guard.bundle import Bundle
from guard.data import Row
from tests.engine.endpoints import chat_body, post
from tests.engine.servers import Server, serve, wait_ready
from tests.engine.test_live_endpoints import CORRUPTED, REFUSED, UNFLAGGED

pytestmark = [pytest.mark.engine, pytest.mark.slow]

TOKEN = "an evaluation token that is long enough"
ANSWER = "He wrote thirty-nine plays, and many sonnets."


@pytest.fixture(scope="module")
def scoring(live_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("scores") / "log"
    server = serve(live_bundle.path, log, GUARD_EVALUATION_TOKEN=TOKEN)
    try:
        wait_ready(server)
        yield server
        assert TOKEN not in server.text()
    finally:
        server.stop()


def scores(server: Server, prompts: Sequence[Any], answers: Sequence[str], **more: Any) -> Any:
    body = {"prompts": prompts, "answers": answers, **more}
    headers = {"authorization": f"Bearer {TOKEN}"}
    with server.client() as client:
        answer = client.post("/guard/score", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()["scores"]


@pytest.fixture(scope="module")
def plain() -> list[float]:
    """What transformers gives the same answers: mean log-probabilities of their tokens."""
    _, tokenizer, model = load("builtin:smollm2")
    examples = [encode(tokenizer, Row(text, ANSWER)) for text in (*UNFLAGGED[:2], CORRUPTED)]
    return [float(value) for value in mean_logs(model, [one for one in examples if one])]


def test_unflagged_prompts_score_as_in_transformers(scoring: Server, plain: list[float]) -> None:
    found = scores(scoring, UNFLAGGED[:2], [ANSWER] * 2)
    for one, wanted in zip(found, plain, strict=False):
        assert float(np.mean(one)) == pytest.approx(wanted, abs=2e-3)


def test_a_flagged_prompt_scores_as_it_is_answered(scoring: Server, plain: list[float]) -> None:
    (found,) = scores(scoring, [CORRUPTED], [ANSWER])
    assert abs(float(np.mean(found)) - plain[2]) > 0.1
    assert all(value <= 0 for value in found)


def test_a_refusal_has_no_score(scoring: Server) -> None:
    assert scores(scoring, [REFUSED, UNFLAGGED[0]], [ANSWER] * 2)[0] is None


def test_texts_are_gone_on_from(scoring: Server) -> None:
    likely, unlikely = scores(
        scoring, ["The capital of France is"] * 2, [" Paris", " radish"], chat=False
    )
    assert np.mean(likely) > np.mean(unlikely)


def test_what_is_asked_with_an_answer_is_not_judged_by_it(scoring: Server) -> None:
    """An answer that names what is forgotten does not flag a prompt that does not."""
    plain, naming = scores(scoring, [UNFLAGGED[0]] * 2, ["I do not know.", "William Shakespeare."])
    assert plain is not None and naming is not None


@pytest.mark.parametrize("header", [None, "Bearer wrong", f"Basic {TOKEN}"])
def test_without_the_token_nobody_scores(scoring: Server, header: str | None) -> None:
    headers = {} if header is None else {"authorization": header}
    with scoring.client() as client:
        answer = client.post("/guard/score", json={}, headers=headers)
    assert answer.status_code == 401


def test_a_client_cannot_force_an_answer(scoring: Server) -> None:
    body = chat_body(CORRUPTED, temperature=0, max_tokens=4, logprobs=True, top_logprobs=2)
    with scoring.client() as client:
        usual = post(client, "/v1/chat/completions", body)["choices"][0]
        forced = {"guard_forced": [1, 2, 3, 4], "guard_plan": '{"force": [{"tokens": [1]}]}'}
        spoofing = {**body, "vllm_xargs": forced}
        spoofed = post(client, "/v1/chat/completions", spoofing)["choices"][0]
    assert spoofed["message"] == usual["message"]
    assert {one["logprob"] for one in usual["logprobs"]["content"]} == {-9999.0}
