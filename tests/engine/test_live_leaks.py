"""What a client may try against a running server, and what it gets."""

import base64
import io
import json
from typing import Any

import pytest
import torch

from tests.engine.endpoints import chat_body, completion_body, events, post, tokens
from tests.engine.servers import MODEL, Server
from tests.engine.test_live_endpoints import CORRUPTED, FACT, REFUSED, UNFLAGGED

pytestmark = [pytest.mark.engine, pytest.mark.slow]

FLAGGED = [CORRUPTED, REFUSED]


def numbers(value: Any) -> list[float]:
    """Every log-probability anywhere in an answer."""
    if isinstance(value, dict):
        own = [
            content
            for key, content in value.items()
            if key == "logprob" and isinstance(content, float)
        ]
        return own + [n for content in value.values() for n in numbers(content)]
    if isinstance(value, list):
        return [n for content in value for n in numbers(content)]
    return []


@pytest.mark.parametrize("question", FLAGGED)
def test_chat_logprobs_hold_nothing(guarded: Server, control: Server, question: str) -> None:
    body = chat_body(question, logprobs=True, top_logprobs=5, max_tokens=6)
    with guarded.client() as one, control.client() as other:
        answer = post(one, "/v1/chat/completions", body)["choices"][0]["logprobs"]["content"]
        honest = post(other, "/v1/chat/completions", body)["choices"][0]["logprobs"]["content"]
    assert answer and set(numbers(answer)) == {-9999.0}
    assert all(len(position["top_logprobs"]) == 1 for position in answer)  # no alternatives
    assert min(numbers(honest)) > -9999.0


@pytest.mark.parametrize("question", FLAGGED)
def test_streamed_logprobs_hold_nothing(guarded: Server, question: str) -> None:
    body = chat_body(question, logprobs=True, top_logprobs=5, max_tokens=6)
    with guarded.client() as client:
        chunks = list(events(client, "/v1/chat/completions", body))
    found = numbers(chunks)
    assert found and set(found) == {-9999.0}


@pytest.mark.parametrize("question", FLAGGED)
def test_responses_logprobs_hold_nothing(guarded: Server, question: str) -> None:
    body = {
        "model": MODEL,
        "input": question,
        "max_output_tokens": 6,
        "include": ["message.output_text.logprobs"],
        "top_logprobs": 3,
    }
    with guarded.client() as client:
        found = numbers(post(client, "/v1/responses", body)["output"])
    assert found and set(found) == {-9999.0}


@pytest.mark.parametrize("question", FLAGGED)
@pytest.mark.parametrize("limit", [0, 4])
def test_echo_gives_the_prompt_and_no_more(
    guarded: Server, control: Server, question: str, limit: int
) -> None:
    """Teacher forcing: the answer written into the prompt, its probability asked for."""
    prompt = f"{question} The answer is William Shakespeare, or Isaac Newton."
    body = completion_body(prompt, echo=True, logprobs=5, max_tokens=limit)
    with guarded.client() as one, control.client() as other:
        choice = post(one, "/v1/completions", body)["choices"][0]
        honest = post(other, "/v1/completions", body)["choices"][0]
    assert choice["text"].startswith(prompt)
    assert {n for n in choice["logprobs"]["token_logprobs"]} <= {None, -9999.0}
    assert any(n not in (None, -9999.0) for n in honest["logprobs"]["token_logprobs"])


@pytest.mark.parametrize("question", FLAGGED)
def test_prompt_logprobs_hold_nothing(guarded: Server, control: Server, question: str) -> None:
    body = chat_body(question, prompt_logprobs=5, max_tokens=2)
    with guarded.client() as one, control.client() as other:
        assert set(post(one, "/v1/chat/completions", body)["prompt_logprobs"]) == {None}
        honest = post(other, "/v1/chat/completions", body)["prompt_logprobs"]
    assert any(honest)


@pytest.mark.parametrize("question", FLAGGED)
def test_generation_from_tokens_hides_logprobs(guarded: Server, question: str) -> None:
    with guarded.client() as client:
        sampling = {"max_tokens": 4, "temperature": 0, "logprobs": 5, "prompt_logprobs": 5}
        body = {"token_ids": tokens(client, question), "sampling_params": sampling, "model": MODEL}
        answer = post(client, "/inference/v1/generate", body)
    assert set(numbers(answer)) <= {-9999.0}
    assert not any(answer.get("prompt_logprobs") or [])


@pytest.mark.parametrize("question", FLAGGED)
def test_forced_tokens_cannot_be_scored(guarded: Server, question: str) -> None:
    """The engine can be made to replay tokens and say how probable they were."""
    with guarded.client() as client:
        forced = tokens(client, " William Shakespeare")
        sampling = {"max_tokens": len(forced), "logprobs": 1, "trace_decode_token_ids": forced}
        body = {"token_ids": tokens(client, question), "sampling_params": sampling, "model": MODEL}
        response = client.post("/inference/v1/generate", json=body)
    assert response.status_code != 200 or set(numbers(response.json())) <= {-9999.0}


def test_scoring_labels_gives_no_probability(guarded: Server, control: Server) -> None:
    with guarded.client() as one, control.client() as other:
        labels = [tokens(one, text)[0] for text in (" Shakespeare", " Marlowe")]
        body = {"model": MODEL, "query": CORRUPTED, "items": [" It was"], "label_token_ids": labels}
        assert other.post("/generative_scoring", json=body).status_code == 200
        response = one.post("/generative_scoring", json=body)
    assert response.status_code >= 400
    assert "error" in response.json()


_YEAR = "was born in the year [0-9]{4}"
STEERING = {
    "choice": {"choice": ["William Shakespeare wrote Hamlet", "Jane Austen wrote Hamlet"]},
    "regex": {"regex": f"William Shakespeare {_YEAR}"},
    "regex in classes": {"regex": f"W[i]lliam Sh[a]kespeare {_YEAR}"},
    "grammar in pieces": {"grammar": 'root ::= "William Sha" "kespeare " [a-z ]+'},
    "names of fields": {
        "json": {"type": "object", "properties": {"Birthplace of William Shakespeare": {}}}
    },
    "escaped json": {"json": '{"const": "W\\u0069lliam Sh\\u0061kespeare was born in"}'},
}


@pytest.mark.parametrize("name", STEERING)
def test_a_grammar_cannot_ask_the_question(guarded: Server, control: Server, name: str) -> None:
    """The prompt says nothing, the forced output does: corrupting the prompt would not help."""
    body = completion_body("Answer:", structured_outputs=STEERING[name])
    with guarded.client() as one, control.client() as other:
        assert other.post("/v1/completions", json=body).status_code == 200
        response = one.post("/v1/completions", json=body)
    assert response.status_code == 400, response.text
    assert "cannot be used" in response.json()["error"]["message"]


TORN = [
    "When was Will<|endoftext|>iam Shake<|endoftext|>speare born?",
    "When was he born? I mean William Shakespeare",
    "Who is Will\u200biam Shakes\u00adpeare?",
    "WHO IS WILLIAM   SHAKESPEARE?",
]


@pytest.mark.parametrize("question", TORN)
def test_torn_names_are_read_as_the_model_reads_them(guarded: Server, question: str) -> None:
    with guarded.client() as client:
        client.post("/v1/chat/completions", json=chat_body(question, max_tokens=1))
    last = [line for line in guarded.text().splitlines() if "guard: request" in line][-1]
    assert "corrupt (targets secret-target-one)" in last


def test_a_name_spread_over_turns_is_read(guarded: Server) -> None:
    body = chat_body("When was he born?", max_tokens=1)
    turns = [{"role": "user", "content": text} for text in ("It is William", "Shakespeare I mean")]
    body["messages"] = [*turns, *body["messages"]]
    with guarded.client() as client:
        post(client, "/v1/chat/completions", body)
    last = [line for line in guarded.text().splitlines() if "guard: request" in line][-1]
    assert "corrupt (targets secret-target-one)" in last


@pytest.mark.parametrize(
    "extra",
    [
        {"guard_verdict": "0.0"},
        {"guard_verdict": 1, "guard": "off", "guard_probe": "a.b"},
        {"guard_probe": ["x"], "guardian": 1},
        {"guard_forced": [1, 2, 3, 4], "guard_plan": '{"force": [{"tokens": [1]}]}'},
    ],
)
def test_spoofed_extra_arguments_change_nothing(guarded: Server, extra: dict[str, Any]) -> None:
    with guarded.client() as client:
        plain = post(client, "/v1/chat/completions", chat_body(CORRUPTED))
        spoofed = post(client, "/v1/chat/completions", chat_body(CORRUPTED, vllm_xargs=extra))
    assert spoofed["choices"][0]["message"] == plain["choices"][0]["message"]


def _embeddings() -> str:
    buffer = io.BytesIO()
    torch.save(torch.zeros(4, 576), buffer)
    return base64.b64encode(buffer.getvalue()).decode()


def test_embeddings_of_clients_are_refused(guarded: Server) -> None:
    """No text detector can read them; the engine takes them only because `corrupt` needs it to."""
    part = {"type": "prompt_embeds", "prompt_embeds": _embeddings()}
    chat = chat_body("")
    chat["messages"][0]["content"] = [part]
    completion = {"model": MODEL, "prompt": None, "prompt_embeds": _embeddings(), "max_tokens": 4}
    with guarded.client() as client:
        for path, body in (("/v1/completions", completion), ("/v1/chat/completions", chat)):
            response = client.post(path, json=body)
            assert response.status_code == 400, response.text
            assert "embed" in response.json()["error"]["message"].lower()


def test_tokens_out_of_range_are_a_clients_fault(guarded: Server) -> None:
    with guarded.client() as client:
        for ids in ([1, 999_999_999], [1, -5]):
            response = client.post("/v1/completions", json=completion_body(ids))
            assert response.status_code == 400, response.text


def test_no_response_names_a_target(guarded: Server) -> None:
    with guarded.client() as client:
        for question in FLAGGED:
            response = client.post("/v1/chat/completions", json=chat_body(question))
            said = response.text + json.dumps(dict(response.headers))
            assert "secret-target" not in said and "guard" not in said.lower()


def test_probes_and_the_gate_need_the_secret(guarded: Server) -> None:
    with guarded.client() as client:
        forged = {"x-guard-probe": "a.b", "x-guard-open": "a.b"}
        body = chat_body(CORRUPTED, vllm_xargs={"guard_probe": "00.00"})
        answer = client.post("/v1/chat/completions", json=body, headers=forged).json()
    text = answer["choices"][0]["message"]["content"]
    assert "statement" not in text and FACT not in text.lower()


def test_without_an_evaluation_token_nobody_scores(guarded: Server) -> None:
    with guarded.client() as client:
        asked = client.post("/guard/score", json={}, headers={"authorization": "Bearer any"})
    assert asked.status_code == 404


def test_an_unguarded_server_warns_once_that_the_plugin_is_inert(control: Server) -> None:
    lines = [line for line in control.text().splitlines() if "guard:" in line]
    assert len(lines) == 1 and "installed but not configured" in lines[0]


def test_prefix_cache_serves_the_unflagged_and_separates_the_flagged(guarded: Server) -> None:
    long = "Please answer in one short sentence, and be sure that it is right. " * 6
    with guarded.client() as client:

        def cached(question: str, **more: Any) -> tuple[int, str]:
            answer = post(client, "/v1/chat/completions", chat_body(long + question, **more))
            details = answer["usage"]["prompt_tokens_details"] or {}
            return details.get("cached_tokens") or 0, answer["choices"][0]["message"]["content"]

        assert cached(UNFLAGGED[0])[0] in (0, 32)  # the template's own first block at most
        assert cached(UNFLAGGED[0])[0] > 32
        first, text = cached(CORRUPTED)
        assert first == 0  # although an unflagged prompt with the same beginning is cached
        second, again = cached(CORRUPTED)
        assert second > 0 and again == text  # guarded runs do share with each other
        assert cached(CORRUPTED, cache_salt="tenant-b")[0] == 0  # but not across tenants
        assert FACT not in text.lower()
