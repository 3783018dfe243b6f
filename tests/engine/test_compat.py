"""Fails loudly when vLLM moves: read `guard/engine/compat/` before mending it."""

import inspect
from typing import Any

import pytest

from guard.engine import compat
from guard.engine.compat import prompts
from guard.errors import EngineError
from guard.models import resolve

MODEL = "builtin:smollm2"
NEEDED: dict[str, Any] = {
    "enable_prompt_embeds": True,
    "logits_processors": ["guard.engine.compat.sampler:GuardProcessor"],
    "enable_lora": True,
    "max_loras": 3,
    "max_lora_rank": 8,
    "lora_target_modules": None,
}


def test_the_installed_vllm_is_inside_the_tested_range() -> None:
    compat.check_version()


def test_every_part_that_is_relied_on_is_there() -> None:
    compat.check()


@pytest.mark.parametrize(
    "place",
    [
        "vllm.v1.engine.async_llm:AsyncLLM.add_request_renamed",
        "vllm.no_such_module:Thing.method",
        "vllm.v1.engine.core:NoSuchClass.method",
    ],
)
def test_a_part_that_is_gone_is_named(place: str) -> None:
    with pytest.raises(EngineError, match="has no") as error:
        compat.resolve(place)
    assert place in str(error.value)


def test_a_parameter_that_is_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    place = "vllm.v1.engine.llm_engine:LLMEngine.step"
    monkeypatch.setitem(compat._RELIED_ON, place, ("self", "speed"))
    with pytest.raises(EngineError, match="has no speed any more"):
        compat.check()


def test_a_version_outside_the_range_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("0.31.9", "0.33.0", "1.0"):
        monkeypatch.setattr(compat, "vllm_version", lambda version=version: version)
        with pytest.raises(EngineError, match="outside the tested range"):
            compat.check_version()


def test_engine_arguments_are_added_to_those_of_the_operator() -> None:
    from vllm.engine.arg_utils import EngineArgs

    held = EngineArgs(resolve(MODEL), logits_processors=["mine:One"], max_lora_rank=64)
    compat.force_engine_args(held, {**NEEDED, "logits_processors": ["ours:One", "mine:One"]})
    assert held.logits_processors == ["mine:One", "ours:One"]
    assert (held.enable_lora, held.max_loras, held.max_lora_rank) == (True, 3, 64)


def test_engine_arguments_that_are_missing_are_named() -> None:
    """Of configurations that vLLM makes itself."""
    from vllm.engine.arg_utils import EngineArgs

    args = EngineArgs(resolve(MODEL), max_model_len=64)
    missing = compat.missing_engine_args(args.create_engine_config(), NEEDED)
    assert {one.partition("=")[0] for one in missing} == NEEDED.keys() - {"lora_target_modules"}
    compat.force_engine_args(args, NEEDED)
    config = args.create_engine_config()
    assert compat.missing_engine_args(config, NEEDED) == []
    assert compat.missing_engine_args(config, {"max_loras": 4, "max_lora_rank": 8}) == [
        "max_loras=4"
    ]


def test_engine_inputs_have_the_fields_that_are_digested() -> None:
    """A new field of a prompt that the engine reads must be covered by the seal."""
    from vllm.inputs.engine import EmbedsInput, TokensInput

    known = {"type", "arrival_time", "cache_salt", "prompt", "prompt_token_ids"}
    assert set(TokensInput.__annotations__) - {"prompt_token_offsets"} <= known
    assert set(EmbedsInput.__annotations__) <= known | {"prompt_embeds", "is_token_ids"}


def test_every_way_to_ask_for_log_probabilities_is_known() -> None:
    from vllm.sampling_params import SamplingParams

    fields = {name for name in SamplingParams.__struct_fields__ if "logprob" in name}
    assert fields == {name for name in prompts.REVEALING if "logprob" in name}


def test_the_forms_of_output_are_those_that_are_built() -> None:
    from vllm.outputs import CompletionOutput, RequestOutput

    for cls, fields in (
        (CompletionOutput, {"index", "text", "token_ids", "logprobs", "finish_reason"}),
        (RequestOutput, {"request_id", "prompt", "prompt_token_ids", "prompt_logprobs"}),
    ):
        assert fields <= set(inspect.signature(cls).parameters)


def test_both_model_runners_take_mixed_prompts() -> None:
    """V2 runs on accelerators only; that it reads the same fields can be checked anywhere."""
    from vllm.v1.worker.gpu.model_states import prompt_embeds

    source = inspect.getsource(prompt_embeds)
    assert "prompt_is_token_ids" in source or "is_token_ids" in source


@pytest.mark.parametrize(
    ("sent", "held", "made", "cached", "created"),
    [
        (40, 64, 0, 32, 0),  # more of the edited prompt is cached than there is of the one sent
        (40, 16, 48, 16, 16),
        (40, 0, 64, 0, 32),
        (32, 64, 16, 16, 16),  # the last token's block is computed, and written again
        (10, 32, 16, 0, 0),
        (0, 16, 0, 0, 0),
        (100, 16, 32, 16, 32),  # what fits is shown as it is
        (100, None, None, None, None),
    ],
)
def test_what_is_cached_does_not_tell_how_long_an_edited_prompt_is(
    sent: int, held: int | None, made: int | None, cached: int | None, created: int | None
) -> None:
    from vllm.outputs import CompletionOutput, RequestOutput
    from vllm.sampling_params import SamplingParams

    completion = CompletionOutput(0, "x", [1], None, None, routed_experts=[[0]] * 120)
    output = RequestOutput(
        "r",
        "edited",
        [0] * 120,
        None,
        [completion],
        True,
        num_cached_tokens=held,
        num_cache_creation_tokens=made,
    )
    rendered = {"prompt": "sent", "prompt_token_ids": [0] * sent}
    compat.hide(output, rendered, SamplingParams(), None, 16)
    assert (output.num_cached_tokens, output.num_cache_creation_tokens) == (cached, created)
    assert (output.prompt, len(output.prompt_token_ids)) == ("sent", sent)
    assert completion.routed_experts is None
