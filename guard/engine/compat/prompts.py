"""How a request comes in, and in which form it goes on to the engine."""

import asyncio
import copy
import hashlib
import inspect
import json
import re
from collections.abc import Mapping
from typing import Any

from guard.engine import verdict
from guard.errors import InterventionError
from guard.interventions.base import Adapter, Request
from guard.view import strings


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


# A client reads the model's beliefs through these; on a flagged prompt they are not computed.
REVEALING = {
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
    for field, value in REVEALING.items():
        if hasattr(changed, field):
            setattr(changed, field, value)
    return changed


def edited_prompt_bytes(engine: Any, request: Request) -> int:
    """How many bytes the embeddings of an edited prompt will hold."""
    if not request.embeddings:
        return 0
    width = len(next(iter(request.embeddings.values())))
    return len(request.token_ids) * width * int(engine.model_config.dtype.itemsize)


def edited_prompt(
    engine: Any, rendered: dict[str, Any], request: Request, salt: str
) -> dict[str, Any]:
    """The engine's form of a prompt with its edits.

    Args:
        engine: The engine, for its type of number.
        rendered: The prompt as it was.
        request: The prompt as it is to be: tokens, some of them replaced by embeddings.
        salt: Cache salt of the edited prompt.
    """
    ids = list(request.token_ids)
    edited: dict[str, Any] = {"type": "token", "prompt_token_ids": ids, "cache_salt": salt}
    if request.embeddings:
        import torch

        width = len(next(iter(request.embeddings.values())))
        most = torch.finfo(engine.model_config.dtype).max  # large noise does not fit float16
        embeddings = torch.zeros((len(ids), width), dtype=engine.model_config.dtype)
        for position, row in request.embeddings.items():
            embeddings[position] = torch.tensor(row).clamp(-most, most).to(embeddings.dtype)
        mask = [position not in request.embeddings for position in range(len(ids))]
        edited |= {"type": "embeds", "prompt_embeds": embeddings, "is_token_ids": mask}
    for field in ("prompt", "arrival_time"):
        if field in rendered:
            edited[field] = rendered[field]
    return edited


def adapter_request(adapter: Adapter | None) -> Any:
    """The engine's form of an adapter; None without one."""
    if adapter is None:
        return None
    from vllm.lora.request import LoRARequest

    # The engine knows adapters by number too: one that says the same in every process.
    digest = hashlib.sha256(f"{adapter.name}\0{adapter.folder}".encode()).digest()
    number = int.from_bytes(digest[:4], "little") % ((1 << 31) - 1) + 1
    return LoRARequest(f"guard:{adapter.name}", number, adapter.folder)


def planned(params: Any, steering: Mapping[str, Any], tokenizer: Any) -> Any:
    """Sampling parameters that carry what is to be done to the logits.

    An answer to which nothing is left is ended by the model's end token, so a client's wish that
    this token be ignored is not heard. Its least length and its logit bias may stay: both are
    applied before a plan, and minus infinity cannot be outbid.

    Raises:
        InterventionError: The model has no end token.
    """
    if not steering:
        return params
    if getattr(tokenizer, "eos_token_id", None) is None:
        raise InterventionError("the served model has no token that ends an answer")
    args = {**extra_args(params), verdict.PLAN: {k: list(v) for k, v in steering.items()}}
    changed = with_extra_args(params, args)
    changed.ignore_eos = False
    return changed


def digest_prompt(rendered: dict[str, Any], lora_request: Any, args: Mapping[str, Any]) -> bytes:
    """Digest of a prompt in the engine's form, its adapter and its plan."""
    return verdict.prompt_digest(
        rendered.get("prompt_token_ids"),
        _raw(rendered.get("prompt_embeds")),
        rendered.get("is_token_ids"),
        rendered.get("cache_salt"),
        _named(lora_request),
        args.get(verdict.PLAN),
    )


def digest_request(request: Any) -> bytes:
    """Digest of the same prompt, as the engine process receives it."""
    return verdict.prompt_digest(
        request.prompt_token_ids,
        _raw(request.prompt_embeds),
        request.prompt_is_token_ids,
        request.cache_salt,
        _named(request.lora_request),
        extra_args(request.params).get(verdict.PLAN),
    )


def _named(lora_request: Any) -> tuple[str, str] | None:
    return (lora_request.lora_name, lora_request.lora_path) if lora_request else None


def _raw(tensor: Any) -> memoryview | None:
    if tensor is None:
        return None
    import torch

    raw: memoryview = tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data.cast("B")
    return raw
