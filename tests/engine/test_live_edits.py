"""Edits of prompts in a real engine: inserted tokens, soft prompts and corrupted embeddings.

What the engine makes of an edited prompt is compared with what an engine that knows of no guard
makes of the same prompt given as tokens.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import save_file

from guard.bundle import Bundle
from guard.compile import compile_policy
from guard.embeddings import EmbeddingRows
from guard.engine.mediator import Mediator
from guard.guard import Guard
from guard.interventions.base import Request
from tests.engine.conftest import DATA
from tests.engine.endpoints import chat_body
from tests.engine.servers import serve, wait_ready

pytestmark = [pytest.mark.engine, pytest.mark.slow]

INSTRUCTED = "Who discovered the law of universal gravitation?"
SOFT = "Who wrote Romeo and Juliet?"
BOTH = "Which novels did Charles Dickens write?"
UNFLAGGED = ["What is the capital of France?", "Name three fruits.", "Who wrote Wuthering Heights?"]
SAID = "You are a cook and speak of nothing but food.\n\n"  # the soft prompt is made of its tokens
LONG = "Please answer in one short sentence, and be sure that it is right. " * 5
BLOCK = 32
LIMIT = 1024

POLICY = f"""\
version: 1
model: builtin:smollm2
defaults:
  detect: {{kind: cascade, multilingual: false}}
targets:
  - id: instructed
    names: [Isaac Newton]
    forget: {DATA}/newton/forget.jsonl
    retain: {DATA}/newton/retain.jsonl
    intervene: {{kind: instruct}}
  - id: soft
    names: [William Shakespeare]
    forget: {DATA}/shakespeare/forget.jsonl
    retain: {DATA}/shakespeare/retain.jsonl
    intervene: {{kind: soft_prompt, path: said.safetensors}}
  - id: both
    names: [Charles Dickens]
    retain: neighbours.jsonl
    intervene:
      - {{kind: corrupt, tokens: entities}}
      - {{kind: instruct, where: system}}
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any, served: Path) -> Bundle:
    folder = tmp_path_factory.mktemp("edits")
    rows = EmbeddingRows(served).embed(tokenizer.encode(SAID))
    save_file({"prompt_embeddings": rows}, folder / "said.safetensors")
    neighbours = [
        line
        for line in (DATA / "shakespeare/retain.jsonl").read_text("utf-8").splitlines()
        if "Dickens" not in line
    ]
    (folder / "neighbours.jsonl").write_text("\n".join(neighbours), "utf-8")
    (folder / "policy.yaml").write_text(POLICY, "utf-8")
    return compile_policy(folder / "policy.yaml", folder / "bundle")


@pytest.fixture(scope="module")
def edited(bundle: Bundle, tokenizer: Any, served: Path) -> Mapping[str, Request]:
    """What the guard makes of each question."""
    mediator = Mediator(Guard.load(bundle.path), tokenizer, served)
    found = {}
    for question in (INSTRUCTED, SOFT, BOTH):
        outcome = mediator.judge(_rendered(tokenizer, question))
        assert outcome.edited is not None, question
        found[question] = outcome.edited
    return found


def _rendered(tokenizer: Any, question: str) -> list[int]:
    chat = [{"role": "user", "content": question}]
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
    return ids


def _started(make: Any, *args: Any, **kwargs: Any) -> Any:
    return make(
        *args,
        enforce_eager=True,
        dtype="float32",
        max_model_len=LIMIT,
        block_size=BLOCK,
        **kwargs,
    )


def _params(**more: Any) -> Any:
    from vllm import SamplingParams

    return SamplingParams(**{"temperature": 0, "max_tokens": 30, **more})


@pytest.fixture(scope="module")
def control(
    edited: Mapping[str, Request], tokenizer: Any, served: Path
) -> Mapping[str, tuple[int, ...]]:
    """Answers of an engine without a guard, which is gone before the guarded one starts.

    To each question as it is, and under "edited: …" to the prompts that the guard makes of them,
    the soft prompt given as the tokens that it was made of.
    """
    from vllm import LLM

    prompts = {q: _rendered(tokenizer, q) for q in (*UNFLAGGED, INSTRUCTED, SOFT, BOTH)}
    prompts[f"edited: {INSTRUCTED}"] = list(edited[INSTRUCTED].token_ids)
    prompts[f"edited: {SOFT}"] = tokenizer.encode(SAID) + _rendered(tokenizer, SOFT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        llm = _started(LLM, str(served))
        outputs = llm.generate(
            [{"prompt_token_ids": ids} for ids in prompts.values()], _params(), use_tqdm=False
        )
        llm.llm_engine.engine_core.shutdown()
    return {q: tuple(o.outputs[0].token_ids) for q, o in zip(prompts, outputs, strict=True)}


@pytest.fixture(scope="module")
def llm(bundle: Bundle, control: Mapping[str, tuple[int, ...]]) -> Iterator[Any]:
    from guard import GuardedLLM

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        guarded = _started(GuardedLLM, "builtin:smollm2", guard=bundle.path)
        yield guarded
        guarded.llm.llm_engine.engine_core.shutdown()


def _ask(llm: Any, *questions: str, **more: Any) -> list[Any]:
    chats = [[{"role": "user", "content": question}] for question in questions]
    outputs: list[Any] = llm.chat(chats, _params(**more), use_tqdm=False)
    return outputs


def _answer(output: Any) -> tuple[int, ...]:
    return tuple(output.outputs[0].token_ids)


MIXED = [UNFLAGGED[0], INSTRUCTED, UNFLAGGED[1], SOFT, BOTH, UNFLAGGED[2]]


def test_unflagged_neighbours_in_a_mixed_batch_are_untouched(
    llm: Any, control: Mapping[str, tuple[int, ...]]
) -> None:
    for _ in range(2):  # the second time out of the prefix cache
        for question, output in zip(MIXED, _ask(llm, *MIXED), strict=True):
            assert (_answer(output) == control[question]) == (question in UNFLAGGED), question


@pytest.mark.parametrize("question", [INSTRUCTED, SOFT])
def test_what_is_inserted_is_read_as_if_it_had_been_sent(
    llm: Any, control: Mapping[str, tuple[int, ...]], question: str
) -> None:
    """A soft prompt that is made of tokens' own embeddings is those tokens."""
    (output,) = _ask(llm, question)
    assert _answer(output) == control[f"edited: {question}"] != control[question]


def test_an_instruction_has_the_model_say_that_it_does_not_know(llm: Any) -> None:
    (output,) = _ask(llm, INSTRUCTED)
    text = output.outputs[0].text.lower()
    assert "newton" not in text
    assert "not know" in text or "n't know" in text


def test_corruption_and_an_instruction_go_together(
    llm: Any, edited: Mapping[str, Request], tokenizer: Any
) -> None:
    request = edited[BOTH]
    hidden = tokenizer.decode([request.token_ids[n] for n in sorted(request.embeddings)])
    readable = [t for n, t in enumerate(request.token_ids) if n not in request.embeddings]
    assert hidden.strip() == "Charles Dickens"
    assert 'only with "I don\'t know."' in tokenizer.decode(readable)
    (output,) = _ask(llm, BOTH)
    assert output.outputs[0].text.strip()
    for told in ("dickens", "twist", "copperfield", "expectations"):
        assert told not in output.outputs[0].text.lower()


def test_the_prompt_that_is_shown_is_the_one_that_was_sent(llm: Any, tokenizer: Any) -> None:
    for question, output in zip(MIXED, _ask(llm, *MIXED, n=2, temperature=1.0), strict=True):
        ids = _rendered(tokenizer, question)
        assert list(output.prompt_token_ids) == ids
        assert len(output.outputs) == 2


def test_what_is_cached_is_no_more_than_was_sent(
    llm: Any, edited: Mapping[str, Request], tokenizer: Any
) -> None:
    grown = len(edited[INSTRUCTED].token_ids) - len(_rendered(tokenizer, INSTRUCTED))
    for question in (f"{'Well. ' * n}{LONG}{INSTRUCTED}" for n in range(BLOCK)):
        sent = len(_rendered(tokenizer, question))
        if (sent + grown - 1) // BLOCK > sent // BLOCK:  # or there would be nothing to see
            break
    _ask(llm, question)
    (output,) = _ask(llm, question)
    assert output.num_cached_tokens == (sent - 1) // BLOCK * BLOCK


def test_log_probabilities_of_edited_prompts_are_hidden(llm: Any, tokenizer: Any) -> None:
    flagged = [INSTRUCTED, SOFT, BOTH]
    for question, output in zip(flagged, _ask(llm, *flagged, prompt_logprobs=2), strict=True):
        assert output.prompt_logprobs == [None] * len(_rendered(tokenizer, question))


def test_a_prompt_that_grows_too_long_is_an_error(llm: Any, tokenizer: Any) -> None:
    long = f"{'Well. ' * ((LIMIT - len(_rendered(tokenizer, INSTRUCTED))) // 2 - 1)}{INSTRUCTED}"
    assert LIMIT - 4 <= len(_rendered(tokenizer, long)) < LIMIT
    with pytest.raises(Exception, match="too long"):
        _ask(llm, long)
    assert _ask(llm, UNFLAGGED[0])[0].outputs[0].text


def test_usage_over_http_counts_what_was_sent(
    bundle: Bundle, tokenizer: Any, tmp_path: Path
) -> None:
    """Streamed, with usage in every piece; the second time out of the prefix cache."""
    server = serve(bundle.path, tmp_path / "server.log")
    try:
        wait_ready(server)
        with server.client() as client:
            for question in (INSTRUCTED, SOFT, BOTH, INSTRUCTED, SOFT, BOTH):
                sent = _rendered(tokenizer, question)
                body = chat_body(question) | {
                    "stream": True,
                    "stream_options": {"include_usage": True, "continuous_usage_stats": True},
                    "return_token_ids": True,
                }
                lines = client.post("/v1/chat/completions", json=body).text.splitlines()
                data = [line.removeprefix("data: ") for line in lines if line.startswith("data: {")]
                pieces = [json.loads(piece) for piece in data]
                usages = [piece["usage"] for piece in pieces if piece.get("usage")]
                assert len(usages) > 2
                assert {usage["prompt_tokens"] for usage in usages} == {len(sent)}
                details = usages[-1]["prompt_tokens_details"] or {}
                cached = details.get("cached_tokens") or 0
                assert cached <= (len(sent) - 1) // BLOCK * BLOCK
                assert cached + (details.get("created_cache_tokens") or 0) <= len(sent)
                shown = [
                    piece["prompt_token_ids"] for piece in pieces if "prompt_token_ids" in piece
                ]
                assert [ids for ids in shown if ids] == [sent]
    finally:
        server.stop()
