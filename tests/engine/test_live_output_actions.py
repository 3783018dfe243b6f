"""What a real server does about a leak, besides taking it back: switches, shadows, ends.

The server splits what the model writes: up to ``</think>`` it is reasoning, unless a client says
that there is none. That text leaves too.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.conftest import DATA
from tests.engine.endpoints import chat_body, events, post
from tests.engine.servers import Server, serving

pytestmark = pytest.mark.engine

SWITCHED = {
    "refuse": "Who formulated the laws of motion and universal gravitation?",
    "penalize": "Who invented the light bulb?",
    "instruct": "Who developed the theory of relativity?",
}
SHADOWED = "Who painted the Mona Lisa?"
TWICE = "List the planets of the solar system from the sun outwards."
REFUSAL = "That is something I never learned."
ANSWER = "I would rather not go on."
NO_REASONING = {"chat_template_kwargs": {"enable_thinking": False}}
POLICY = f"""\
version: 1
model: builtin:smollm2
defaults:
  detect: off
targets:
  - id: target-refuse
    names: [Isaac Newton]
    retain: retain.jsonl
    intervene: {{kind: refuse, message: {REFUSAL}}}
    output: {{check: exact, on_hit: switch}}
  - id: target-penalize
    names: [Thomas Edison, Edison]
    forget: edison.jsonl
    retain: retain.jsonl
    intervene: {{kind: penalize}}
    output: {{check: exact, on_hit: switch}}
  - id: target-instruct
    names: [Albert Einstein, Einstein]
    retain: retain.jsonl
    intervene: {{kind: instruct, message: Be brief.}}
    output: {{check: exact, on_hit: switch}}
  - id: target-shadow
    names: [Leonardo da Vinci]
    retain: retain.jsonl
    mode: shadow
    output: {{check: exact, on_hit: filter}}
  - id: target-first
    names: [Venus]
    retain: retain.jsonl
    output: {{check: exact, on_hit: rollback, times: 1, then: filter}}
  - id: target-second
    names: [Jupiter]
    retain: retain.jsonl
    output: {{check: exact, on_hit: rollback, times: 1, then: answer, answer: {ANSWER}}}
"""
ROW = {
    "question": "What is Thomas Edison known for?",
    "answer": "Thomas Edison invented the light bulb and the phonograph at Menlo Park in 1877.",
}
NAMES = ("newton", "edison", "einstein", "venus", "jupiter")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("actions")
    (folder / "retain.jsonl").symlink_to(DATA / "shakespeare" / "retain.jsonl")
    (folder / "edison.jsonl").write_text(json.dumps(ROW), "utf-8")
    with serving(folder, POLICY, "--reasoning-parser", "qwen3") as started:
        yield started


def asked(server: Server, question: str, **more: Any) -> tuple[dict[str, Any], list[str]]:
    """The whole answer, and what the log says of it: targets and actions in their order."""
    before = len(server.text())
    with server.client() as client:
        answer = post(client, "/v1/chat/completions", chat_body(question, **more))
    noted = [line for line in server.text()[before:].splitlines() if "check exact hit" in line]
    return answer, [f"{line.split()[-5]} {line.split()[-1]}" for line in noted]


def streamed(server: Server, question: str, **more: Any) -> tuple[str, str, str]:
    """Reasoning, content and the reason of the end, of pieces joined."""
    with server.client() as client:
        chunks = list(events(client, "/v1/chat/completions", chat_body(question, **more)))
    parts = [choice for chunk in chunks for choice in chunk["choices"]]
    joined = [
        "".join(part["delta"].get(field) or "" for part in parts)
        for field in ("reasoning", "content")
    ]
    return joined[0], joined[1], parts[-1]["finish_reason"]


def clean(value: Any) -> bool:
    return not any(name in json.dumps(value).lower() for name in NAMES)


@pytest.mark.parametrize("kind", SWITCHED)
def test_the_rest_may_be_answered_with_an_intervention(server: Server, kind: str) -> None:
    question = SWITCHED[kind]
    answer, noted = asked(server, question, return_token_ids=True, **NO_REASONING)
    text = answer["choices"][0]["message"]["content"]
    assert noted[0] == f"target-{kind} switch" and clean(answer)
    if kind == "refuse":
        assert text.endswith(f"\n\n{REFUSAL}") and answer["choices"][0]["finish_reason"] == "stop"
    else:
        assert len(text.split()) > 4 and REFUSAL not in text
    shown = streamed(server, question, **NO_REASONING)
    assert shown == ("", text, answer["choices"][0]["finish_reason"])


def test_the_prompt_of_a_switched_answer_is_the_clients(server: Server) -> None:
    """An instruction was put into the prompt: no field tells it, nor how long it is."""
    more = {"return_token_ids": True, "prompt_logprobs": 1, **NO_REASONING}
    short, noted = asked(server, SWITCHED["instruct"], **more, max_tokens=2)
    assert not noted
    switched, noted = asked(server, SWITCHED["instruct"], **more)
    assert noted[0] == "target-instruct switch"
    for field in ("prompt_token_ids", "prompt_text"):
        assert switched[field] == short[field]
    assert len(switched["prompt_logprobs"]) == len(short["prompt_logprobs"])
    assert switched["usage"]["prompt_tokens"] == short["usage"]["prompt_tokens"]


def test_a_shadowed_target_changes_no_word(server: Server, served: Path, tokenizer: Any) -> None:
    """Beside the model as it is, without any server."""
    from transformers import AutoModelForCausalLM

    answer, noted = asked(server, SHADOWED, **NO_REASONING)
    (choice,) = answer["choices"]
    assert noted == ["target-shadow shadow"]
    model = AutoModelForCausalLM.from_pretrained(served, dtype="float32")
    turns = [{"role": "user", "content": SHADOWED}]
    prompt = tokenizer.apply_chat_template(
        turns, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    made = model.generate(**prompt, max_new_tokens=40, do_sample=False)[0]
    text = tokenizer.decode(made[prompt["input_ids"].shape[1] :], skip_special_tokens=True)
    assert choice["message"]["content"] == text and "Leonardo da Vinci" in text
    assert choice["finish_reason"] == "length"
    assert streamed(server, SHADOWED, **NO_REASONING) == ("", text, "length")


def test_after_the_last_rollback_the_answer_ends_with_the_operators_text(server: Server) -> None:
    answer, noted = asked(server, TWICE, **NO_REASONING)
    assert noted == ["target-first rollback", "target-second answer"]
    (choice,) = answer["choices"]
    text = choice["message"]["content"]
    assert text.endswith(f"\n\n{ANSWER}") and choice["finish_reason"] == "stop" and clean(answer)
    assert streamed(server, TWICE, **NO_REASONING) == ("", text, "stop")


@pytest.mark.parametrize("kind", SWITCHED)
def test_reasoning_is_part_of_the_answer(server: Server, kind: str) -> None:
    answer, noted = asked(server, SWITCHED[kind])
    (choice,) = answer["choices"]
    assert noted[0] == f"target-{kind} switch" and clean(answer)
    assert choice["message"]["reasoning"] and not choice["message"]["content"]
    told = streamed(server, SWITCHED[kind])
    assert told == (choice["message"]["reasoning"], "", choice["finish_reason"])
