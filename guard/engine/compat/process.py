"""How vLLM is started, and what only a running engine can prove."""

import copy
import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from guard.engine.compat.lora import lora_rank
from guard.errors import EngineError


async def unsealed_is_refused(engine: Any, token_ids: Sequence[int]) -> bool:
    """Sends requests without a seal past the front end; whether every engine process refuses it.

    Data-parallel engines get one each.
    """
    tasks = await engine.get_supported_tasks()
    count = len(getattr(engine.engine_core, "core_engines", ()))
    for rank in range(count) if count > 1 else [None]:
        if not await _is_refused(engine, _unsealed(engine, token_ids, tasks, rank)):
            return False
    return True


async def _is_refused(engine: Any, request: Any) -> bool:
    from vllm.sampling_params import SamplingParams
    from vllm.v1.engine.output_processor import RequestOutputCollector

    queue = RequestOutputCollector(SamplingParams().output_kind, request.request_id)
    engine._run_output_handler()
    await engine._add_request(request, None, None, 0, queue)
    while True:
        output = await queue.get()
        if output.finished:
            return bool(output.outputs[0].finish_reason == "error")


def unsealed_is_refused_sync(engine: Any, token_ids: Sequence[int]) -> bool:
    """The same for a synchronous engine."""
    request = _unsealed(engine, token_ids, engine.get_supported_tasks())
    engine.output_processor.add_request(request, None, None, 0)
    try:
        engine.engine_core.add_request(request)
    except EngineError:  # an engine in this process refuses at once
        engine.output_processor.abort_requests([request.request_id], True)
        return True
    while engine.output_processor.has_unfinished_requests():
        for output in engine.step():
            if output.finished:
                return bool(output.outputs[0].finish_reason == "error")
    return False


def quiet_self_tests() -> None:
    """Keeps the engine process from logging the refusal that a self-test provokes as an error."""

    def other(record: logging.LogRecord) -> bool:
        return _SELF_TEST not in record.getMessage()

    logging.getLogger("vllm.v1.engine.core").addFilter(other)


_SELF_TEST = "guard-self-test"


def _unsealed(engine: Any, token_ids: Sequence[int], tasks: Any, rank: int | None = None) -> Any:
    from vllm.sampling_params import SamplingParams

    prompt = {"type": "token", "prompt_token_ids": list(token_ids)}
    sampling = SamplingParams(max_tokens=1)
    request = engine.input_processor.process_inputs(
        _SELF_TEST, prompt, sampling, supported_tasks=tasks, data_parallel_rank=rank
    )
    engine.input_processor.assign_request_id(request)
    return request


async def plain_instead_of_beams(
    engine: Any, prompt: Any, request_id: str, params: Any, lora_request: Any
) -> AsyncIterator[Any]:
    """Answers a flagged prompt without beam search, in the shape that beam search gives."""
    from vllm.sampling_params import RequestOutputKind, SamplingParams

    greedy = params.temperature < 1e-5
    sampling = SamplingParams(
        n=1 if greedy else params.beam_width,
        temperature=params.temperature,
        max_tokens=params.max_tokens,
        ignore_eos=params.ignore_eos,
        logprobs=1,  # callers of beam search expect some; what they get is a placeholder
        output_kind=RequestOutputKind.FINAL_ONLY,
    )
    async for output in engine.generate(prompt, sampling, request_id, lora_request=lora_request):
        for index in range(len(output.outputs), params.beam_width):
            beam = copy.copy(output.outputs[0])
            beam.index = index
            output.outputs.append(beam)
        for beam in output.outputs:
            beam.cumulative_logprob = 0.0
        yield output


def served_tokenizer(vllm_config: Any) -> Any:
    """The tokenizer that the engine reads prompts with; a copy, for threads of our own.

    A fast tokenizer that two threads set up differently (one truncates) fails in either.
    """
    from vllm.tokenizers.registry import cached_tokenizer_from_config

    return copy.deepcopy(cached_tokenizer_from_config(vllm_config.model_config))


def inherit_environment(prefix: str) -> None:
    """Has Ray hand on the environment variables of a prefix to the engine's processes."""
    name = "VLLM_RAY_EXTRA_ENV_VAR_PREFIXES_TO_COPY"
    prefixes = [p for p in os.environ.get(name, "").split(",") if p]
    if prefix not in prefixes:
        os.environ[name] = ",".join([*prefixes, prefix])


def served_folder(vllm_config: Any) -> str:
    """The folder or id of the served model."""
    model: str = vllm_config.model_config.model
    return model


def force_engine_args(engine_args: Any, needed: Mapping[str, Any]) -> None:
    """Sets what a bundle needs in vLLM's ``EngineArgs``; see `Intervention.engine_args`."""
    for name, value in needed.items():
        held = getattr(engine_args, name)
        if isinstance(value, list):
            value = [*(held or ()), *(one for one in value if one not in (held or ()))]
        elif isinstance(value, int) and not isinstance(value, bool):
            value = max(held or 0, value)
            if name == "max_lora_rank":
                value = lora_rank(value)
        setattr(engine_args, name, value)


def missing_engine_args(vllm_config: Any, needed: Mapping[str, Any]) -> list[str]:
    """Returns what a bundle needs and an engine was started without, as "name=value"."""
    lora = vllm_config.lora_config
    held = {
        "enable_prompt_embeds": vllm_config.model_config.enable_prompt_embeds,
        "logits_processors": vllm_config.model_config.logits_processors or [],
        "logprobs_mode": vllm_config.model_config.logprobs_mode,
        "enable_lora": lora is not None,
        "max_loras": lora.max_loras if lora else 0,
        "max_lora_rank": lora.max_lora_rank if lora else 0,
        "lora_target_modules": lora.target_modules if lora else None,
    }
    missing = []
    for name, value in needed.items():
        has = held[name]
        if isinstance(value, list):
            there = set(value) <= set(has)
        else:
            there = has >= value if type(value) is int else has == value
        if not there:
            missing.append(f"{name}={value}")
    return missing


def front_ends(args: Any) -> int:
    """How many API server processes vLLM will start for its parsed arguments."""
    if args.api_server_count:
        return int(args.api_server_count)
    if args.data_parallel_external_lb or args.data_parallel_rank is not None:
        return 1
    if args.data_parallel_hybrid_lb or args.data_parallel_start_rank is not None:
        return int(args.data_parallel_size_local or 1)
    return int(args.data_parallel_size or 1)


def run_server(argv: Sequence[str], ready: Callable[[Any], None], **defaults: Any) -> None:
    """Runs ``vllm serve`` in this process.

    Not through the command: the one of the CPU package cannot start (it asks for the metadata
    of a package of another name).

    Args:
        argv: What would follow ``vllm serve``.
        ready: Is told the parsed arguments before the server starts; may change them.
        **defaults: Arguments in place of vLLM's defaults, where neither flags nor a configuration
            file give them.
    """
    from vllm.entrypoints.cli.serve import ServeSubcommand
    from vllm.entrypoints.serve.utils.api_utils import cli_env_setup
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    cli_env_setup()
    command = ServeSubcommand()
    parser = FlexibleArgumentParser(prog="guard", description="vLLM's own server, guarded")
    serving = command.subparser_init(parser.add_subparsers(required=True, dest="subparser"))
    serving.set_defaults(**defaults)
    args = parser.parse_args(["serve", *argv])
    command.validate(args)
    ready(args)
    command.cmd(args)
