"""How a given answer goes into vLLM to be scored, and what comes back."""

from collections.abc import Sequence
from typing import Any

from guard.engine import verdict
from guard.engine.compat.prompts import extra_args, with_extra_args
from guard.steering.force import carrier, told


def scoring_params(tokens: Sequence[int]) -> Any:
    """Sampling parameters that carry an answer to be scored."""
    from vllm.sampling_params import RequestOutputKind, SamplingParams

    return SamplingParams(
        temperature=0.0,
        max_tokens=len(tokens),
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
        extra_args={verdict.FORCED: list(tokens)},
    )


def forced(params: Any, tokens: Sequence[int]) -> Any:
    """A copy of sampling parameters under which an answer is forced and told of.

    Two log-probabilities a token are asked for: the forced token's and its carrier's.
    """
    args = extra_args(params)
    plans = {**args.get(verdict.PLAN, {}), "force": [{"tokens": list(tokens)}]}
    changed = with_extra_args(params, {**args, verdict.PLAN: plans})
    changed.logprobs = 2
    # The end token is one of the answer's where it is to be scored, and ends it there.
    changed.ignore_eos = False
    return changed


def likelihood(output: Any, tokens: Sequence[int], vocabulary: int) -> tuple[float, ...] | None:
    """Reads what was told of a forced answer.

    Args:
        output: The engine's output.
        tokens: The answer.
        vocabulary: How many logits the model has.

    Returns:
        Log-probabilities of the tokens, in nats; None where the model was not asked for them.
    """
    (completion,) = output.outputs
    if list(completion.token_ids) != list(tokens) or not completion.logprobs:
        return None
    found = []
    for token, held in zip(tokens, completion.logprobs, strict=True):
        carried = held.get(carrier(token, vocabulary))
        if carried is None:
            return None
        found.append(told(held[token].logprob, carried.logprob))
    return tuple(found)


def vocabulary(engine: Any) -> int:
    """How many logits an engine's model has."""
    return int(engine.model_config.get_vocab_size())
