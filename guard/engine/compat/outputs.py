"""How an answer comes back: finished ones are made here, revealing ones are covered."""

import copy
from collections.abc import Callable, Sequence
from typing import Any


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
    logprobs = hidden_logprobs(ids, tokenizer) if params.logprobs is not None else None
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


def hide(output: Any, rendered: dict[str, Any], params: Any, tokenizer: Any, block: int) -> Any:
    """Puts placeholders where a client asked for log-probabilities, and back the prompt it sent.

    The placeholder is -9999.0, which vLLM itself gives where it has no value. Nothing tells how
    long the edited prompt is: neither what usage counts, nor a list with an item for each token.

    Args:
        output: What the engine gave.
        rendered: The prompt as the client sent it.
        params: What the client asked for.
        tokenizer: The served model's.
        block: Tokens of one block of the prefix cache.
    """
    output.prompt = rendered.get("prompt")
    output.prompt_token_ids = rendered["prompt_token_ids"]
    output.prompt_logprobs = _hidden_prompt_logprobs(output.prompt_token_ids, params)
    _fit_cached(output, block)
    output.lora_request = None
    for completion in output.outputs:
        completion.routed_experts = None
        completion.lora_request = None
        if hasattr(completion, "sampling_mask"):
            completion.sampling_mask = None
    if params.logprobs is not None:
        for completion in output.outputs:
            completion.logprobs = hidden_logprobs(completion.token_ids, tokenizer)
    return output


def _fit_cached(output: Any, block: int) -> None:
    """Has no more tokens be cached than the cache could hold of the prompt that was sent.

    Whole blocks are cached, and of those the last token's is always computed anew.
    """
    count = len(output.prompt_token_ids)
    held = output.num_cached_tokens or 0
    cached = min(held, max(count - 1, 0) // block * block)
    if output.num_cached_tokens is not None:
        output.num_cached_tokens = cached
    if output.num_cache_creation_tokens is not None:
        whole = min(held + output.num_cache_creation_tokens, count // block * block)
        output.num_cache_creation_tokens = whole - cached


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


def hidden_logprobs(token_ids: Sequence[int], tokenizer: Any) -> list[Any]:
    """Placeholders for the log-probabilities of tokens."""
    from vllm.logprobs import Logprob

    return [
        {token: Logprob(logprob=-9999.0, rank=None, decoded_token=tokenizer.decode([token]))}
        for token in token_ids
    ]


def _hidden_prompt_logprobs(token_ids: Sequence[int], params: Any) -> list[None] | None:
    # None is what the first prompt token has anyway: every consumer knows it.
    return [None] * len(token_ids) if params.prompt_logprobs is not None else None
