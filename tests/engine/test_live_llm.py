"""`GuardedLLM` around a real engine: vLLM's signatures and outputs, and what is beneath them."""

import inspect
from collections.abc import Iterator
from typing import Any

import pytest

from guard.bundle import Bundle
from guard.engine import compat
from guard.engine.lane import Ask
from guard.errors import GuardError
from tests.engine.conftest import REFUSAL
from tests.engine.test_live_endpoints import CORRUPTED, FACT, REFUSED, UNFLAGGED

pytestmark = [pytest.mark.engine, pytest.mark.slow]

LONG = "Please answer in one short sentence, and be sure that it is right. " * 6


@pytest.fixture(scope="module")
def llm(live_bundle: Bundle) -> Iterator[Any]:
    from guard import GuardedLLM

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        guarded = GuardedLLM(
            "builtin:smollm2",
            guard=live_bundle.path,
            enforce_eager=True,
            dtype="float32",
            max_model_len=2048,
            block_size=32,
        )
        yield guarded
        guarded.llm.llm_engine.engine_core.shutdown()


def _params(**more: Any) -> Any:
    from vllm import SamplingParams

    return SamplingParams(**{"temperature": 0, "max_tokens": 30, **more})


def _chat(question: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}]


def test_signatures_and_outputs_are_vllms(llm: Any) -> None:
    from vllm import LLM, RequestOutput

    for name in ("generate", "chat", "beam_search", "encode"):
        own, theirs = inspect.signature(getattr(llm, name)), inspect.signature(getattr(LLM, name))
        assert list(own.parameters) == list(theirs.parameters)[1:], name
    outputs = llm.generate([CORRUPTED, UNFLAGGED[0]], _params(), use_tqdm=False)
    assert all(isinstance(output, RequestOutput) and output.finished for output in outputs)
    assert [output.prompt for output in outputs] == [CORRUPTED, UNFLAGGED[0]]
    assert all(output.prompt_token_ids for output in outputs)


def test_a_mixed_batch_comes_back_in_order(llm: Any) -> None:
    questions = [UNFLAGGED[0], REFUSED, CORRUPTED, UNFLAGGED[1], REFUSED]
    outputs = llm.chat([_chat(q) for q in questions], _params(), use_tqdm=False)
    texts = [output.outputs[0].text for output in outputs]
    assert texts[1] == texts[4] == REFUSAL
    assert FACT not in texts[2].lower() and texts[2]
    assert "paris" in texts[0].lower()
    alone = llm.chat(_chat(UNFLAGGED[1]), _params(), use_tqdm=False)
    assert texts[3] == alone[0].outputs[0].text


def test_only_finished_answers(llm: Any) -> None:
    """No request reaches the engine: the loop must end all the same."""
    outputs = llm.chat([_chat(REFUSED)] * 3, _params(n=2, temperature=1.0), use_tqdm=False)
    assert [[o.text for o in output.outputs] for output in outputs] == [[REFUSAL, REFUSAL]] * 3


def test_samples_and_logprobs(llm: Any) -> None:
    params = _params(n=3, temperature=1.0, seed=3, logprobs=4, prompt_logprobs=4)
    (output,) = llm.chat(_chat(CORRUPTED), params, use_tqdm=False)
    assert len(output.outputs) == 3
    for completion in output.outputs:
        assert FACT not in completion.text.lower()
        assert len(completion.logprobs) == len(completion.token_ids)
        assert all(p.logprob == -9999.0 for step in completion.logprobs for p in step.values())
    assert set(output.prompt_logprobs) == {None}
    assert params.logprobs == 4 and params.extra_args is None, "the caller's own stays as it was"


def test_enqueued_requests_are_guarded(llm: Any) -> None:
    llm.enqueue([REFUSED, UNFLAGGED[0]], _params(), use_tqdm=False)
    outputs = llm.wait_for_completion(use_tqdm=False)
    assert outputs[0].outputs[0].text == REFUSAL


def test_beam_search_on_a_flagged_prompt_is_an_error(llm: Any) -> None:
    from vllm.sampling_params import BeamSearchParams

    params = BeamSearchParams(beam_width=2, max_tokens=4)
    with pytest.raises(Exception, match="Beam search is not available"):
        llm.beam_search([{"prompt": CORRUPTED}], params)
    (found,) = llm.beam_search([{"prompt": "The capital of France is"}], params)
    assert "Paris" in found.sequences[0].text
    assert llm.chat(_chat(REFUSED), _params(), use_tqdm=False)[0].outputs[0].text == REFUSAL


def test_embeddings_are_refused(llm: Any) -> None:
    import torch

    with pytest.raises(Exception, match="embeddings cannot be sent"):
        llm.generate({"prompt_embeds": torch.zeros(4, 576)}, _params(), use_tqdm=False)


def _core_request(llm: Any, question: str, **extra: Any) -> Any:
    engine = llm.llm.llm_engine
    prompt = {"type": "token", "prompt_token_ids": llm.get_tokenizer().encode(question)}
    params = _params(max_tokens=4, extra_args=extra or None)
    request = engine.input_processor.process_inputs(
        "raw", prompt, params, supported_tasks=engine.get_supported_tasks()
    )
    engine.input_processor.assign_request_id(request)
    return request


def _run_raw(llm: Any, request: Any) -> Any:
    """Puts a request into the engine behind the front end's back."""
    engine = llm.llm.llm_engine
    engine.output_processor.add_request(request, None, None, 0)
    engine.engine_core.add_request(request)
    while engine.output_processor.has_unfinished_requests():
        for output in engine.step():
            if output.finished:
                return output.outputs[0]
    raise AssertionError("the engine gave nothing back")


def test_the_engine_refuses_what_was_not_judged(llm: Any) -> None:
    for extra in ({}, {"guard_verdict": "x"}, {"guard_verdict": f"{llm.guard.version}.{'0' * 64}"}):
        completion = _run_raw(llm, _core_request(llm, UNFLAGGED[0], **extra))
        assert completion.finish_reason == "error" and not completion.token_ids


def test_a_verdict_does_not_fit_another_prompt(llm: Any) -> None:
    frontend = llm.llm.llm_engine._guard_frontend
    rendered = {"type": "token", "prompt_token_ids": llm.get_tokenizer().encode(UNFLAGGED[0])}
    seal = frontend.seals.seal(compat.digest_prompt(rendered, None, {}), llm.guard.version)
    good = _run_raw(llm, _core_request(llm, UNFLAGGED[0], guard_verdict=seal))
    assert good.finish_reason in ("length", "stop")  # so it is the prompt that decides
    moved = _run_raw(llm, _core_request(llm, CORRUPTED, guard_verdict=seal))
    assert moved.finish_reason == "error" and not moved.token_ids


def test_requests_made_for_the_engine_are_refused_by_the_front_end(llm: Any) -> None:
    with pytest.raises(Exception, match="Send the prompt"):
        llm.llm.llm_engine.add_request("raw", _core_request(llm, UNFLAGGED[0]), _params())


def _unguarded(llm: Any, question: str) -> Any:
    """The same prompt without the guard: sealed as unflagged, past the front end."""
    engine = llm.llm.llm_engine
    frontend = engine._guard_frontend
    ids = llm.get_tokenizer().apply_chat_template(
        _chat(question), add_generation_prompt=True, return_dict=False
    )
    rendered = {"type": "token", "prompt_token_ids": list(ids)}
    ask = Ask(rendered, _params())
    sealed = frontend.sealed_ask(ask, frontend.served)
    original = type(engine).add_request.__wrapped__
    identity = f"plain-{id(ask)}"
    original(engine, identity, ask.prompt, sealed)
    while engine.output_processor.has_unfinished_requests():
        for output in engine.step():
            if output.finished and output.request_id == identity:
                return output
    raise AssertionError("the engine gave nothing back")


@pytest.mark.parametrize("guarded_first", [True, False])
def test_guarded_and_unguarded_runs_never_share_a_cache(llm: Any, guarded_first: bool) -> None:
    def guarded(question: str) -> Any:
        return llm.chat(_chat(question), _params(), use_tqdm=False)[0]

    # A prompt that no other test has put into the cache.
    question = f"{'First' if guarded_first else 'Then'}. {LONG}{CORRUPTED}"
    assert len(llm.get_tokenizer().encode(question)) > 3 * 32
    runs = [guarded, lambda q: _unguarded(llm, q)]
    if not guarded_first:
        runs.reverse()
    first, second = runs[0](question), runs[1](question)
    again = [run(question) for run in runs]
    assert second.num_cached_tokens <= 32  # the template's own first block is everybody's
    assert all(output.num_cached_tokens > 32 for output in again)
    assert [o.outputs[0].text for o in again] == [o.outputs[0].text for o in (first, second)]
    plain, edited = (second, first) if guarded_first else (first, second)
    assert plain.outputs[0].text != edited.outputs[0].text
    assert FACT not in edited.outputs[0].text.lower()


def test_aborted_requests_leave_nothing_behind(llm: Any) -> None:
    engine = llm.llm.llm_engine
    for n, question in enumerate((REFUSED, CORRUPTED)):
        engine.add_request(f"gone-{n}", question, _params())
    engine.abort_request(["gone-0", "gone-1"])
    assert not engine.has_unfinished_requests()
    assert not engine._guard_answers and not engine._guard_hides


def test_a_second_guard_around_a_guarded_llm_is_refused(llm: Any, live_bundle: Bundle) -> None:
    from guard import GuardedLLM

    with pytest.raises(GuardError, match="guarded already"):
        GuardedLLM(llm.llm, guard=live_bundle.path)
