"""Answers between vLLM's engine and its client, cut to what may leave."""

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from guard.engine import verdict
from guard.engine.compat.outputs import hidden_logprobs
from guard.engine.compat.prompts import extra_args

_FIRST = ("prompt_logprobs", "prompt_token_id_logprobs")  # told once where answers are streamed


def output_kind(params: Any) -> Literal["delta", "cumulative", "final"]:
    """How a client gets its answer: piece by piece, as it grows, or once."""
    from vllm.sampling_params import RequestOutputKind

    kinds: dict[Any, Literal["delta", "cumulative", "final"]] = {
        RequestOutputKind.DELTA: "delta",
        RequestOutputKind.CUMULATIVE: "cumulative",
        RequestOutputKind.FINAL_ONLY: "final",
    }
    return kinds[params.output_kind]


def one_of(params: Any, index: int) -> Any:
    """The parameters of one of ``n`` answers, as vLLM makes them; its pieces come one by one."""
    from vllm.sampling_params import RequestOutputKind

    changed = copy.copy(params)
    changed.n = 1
    if changed.seed is not None:
        changed.seed += index
    if changed.output_kind != RequestOutputKind.FINAL_ONLY:
        changed.output_kind = RequestOutputKind.DELTA
    return changed


def formed(params: Any, text: str) -> bool:
    """Whether an answer has the form that was asked for, as far as that can be told cheaply.

    A form that is told by a grammar or a pattern, and what a schema says, are not looked at.
    """
    form = params.structured_outputs
    if form is None:
        return True
    if form.json is not None or form.json_object:
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            return False
    return form.choice is None or text in form.choice


def plans(params: Any) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """What is planned for the logits, by kind of steering."""
    found: Mapping[str, Sequence[Mapping[str, Any]]] = extra_args(params).get(verdict.PLAN, {})
    return found


def decoder(
    tokenizer: Any, prompt: Sequence[int], skip_special_tokens: bool
) -> Callable[[int], str | None]:
    """Returns what tells the text that one more token adds, as vLLM's own detokenizer does.

    None while a token is part of a character, or is not shown.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return _slow_decoder(tokenizer, skip_special_tokens)
    from tokenizers.decoders import DecodeStream

    stream = DecodeStream(ids=list(prompt), skip_special_tokens=skip_special_tokens)

    def step(token: int) -> str | None:
        nonlocal stream
        try:
            piece: str | None = stream.step(backend, token)
        except Exception as error:
            if not str(error).startswith("Invalid prefix encountered"):
                raise
            stream = DecodeStream(skip_special_tokens=skip_special_tokens)
            piece = stream.step(backend, token)
        return piece

    return step


def _slow_decoder(tokenizer: Any, skip_special_tokens: bool) -> Callable[[int], str | None]:
    ids: list[int] = []
    told = ""

    def step(token: int) -> str | None:
        nonlocal told
        ids.append(token)
        text: str = tokenizer.decode(ids, skip_special_tokens=skip_special_tokens)
        if text.endswith("\ufffd") or not text.startswith(told) or text == told:
            return None
        piece, told = text[len(told) :], text
        return piece

    return step


def joined_logprobs(held: Any, more: Any) -> Any:
    """Log-probabilities with more behind them; neither is changed."""
    if more is None or held is None:
        return copy.copy(more) if held is None and more is not None else held
    joined = copy.deepcopy(held) if not isinstance(held, list) else list(held)
    joined.extend(more)
    return joined


def told_logprobs(
    held: Any, tokens: slice, ids: Sequence[int], bare: int | None, tokenizer: Any, *, alone: bool
) -> Any:
    """Log-probabilities of some tokens; placeholders from the place on where none is to be told.

    Args:
        held: Those of all tokens; None where the engine tells none, as of an edited prompt.
        tokens: Which.
        ids: All tokens.
        bare: From which on there are placeholders; None for nowhere.
        tokenizer: The served model's.
        alone: Whether the alternatives to each token are left out: what leaves of an answer is
            read, and what it might have said instead is not.
    """
    if held is None:
        return hidden_logprobs(ids[tokens], tokenizer)
    split = tokens.stop if bare is None else max(tokens.start, min(bare, tokens.stop))
    shown = held[tokens.start : split]
    if alone:
        own = ids[tokens.start : split]
        shown = [{token: one[token]} for one, token in zip(shown, own, strict=True)]
    if split == tokens.stop:
        return shown
    return list(shown) + hidden_logprobs(ids[split : tokens.stop], tokenizer)


def part(
    completion: Any,
    index: int,
    text: str,
    ids: Sequence[int],
    logprobs: Any,
    finish: str | None,
    stop: int | str | None,
    before: float = 0.0,
) -> Any:
    """What leaves of one answer, in vLLM's form; `before` is how likely what left earlier was."""
    made = copy.copy(completion)
    made.index, made.text, made.token_ids = index, text, list(ids)
    made.logprobs = logprobs
    if logprobs is not None:
        made.cumulative_logprob = before + sum(
            held[token].logprob
            for held, token in zip(logprobs, ids, strict=True)
            if held and token in held
        )
    made.finish_reason, made.stop_reason = finish, stop
    # As many as there are tokens, or of the whole answer: they would tell of what is held back.
    made.sampling_mask = made.routed_experts = None
    if finish is None:
        made.weight_versions = None
    return made


def keep_first(output: Any, first: dict[str, Any]) -> None:
    """Keeps what an engine's first output alone tells, until something leaves."""
    for name in _FIRST:
        value = getattr(output, name, None)
        if value is not None:
            first.setdefault(name, value)


def whole(
    output: Any, parts: Sequence[Any], finished: bool, first: dict[str, Any], *, delta: bool
) -> Any:
    """An output for the client.

    Args:
        output: The engine's, of which the rest is taken.
        parts: What leaves of each answer.
        finished: Whether all answers have ended.
        first: See `keep_first`; told once where answers are streamed in pieces.
        delta: Whether they are.
    """
    made = copy.copy(output)
    made.outputs, made.finished = list(parts), finished
    for name in _FIRST:
        if hasattr(made, name):
            setattr(made, name, first.get(name))
    if delta and first:
        for name in first:
            first[name] = None
    return made
