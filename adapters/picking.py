"""Logits of chosen positions alone.

A vocabulary is many times as wide as hidden states, and most tokens are prompt and padding. So the
states of the positions that count are picked out between decoder and head, and the model's own code
puts the head on those alone: soft caps, scales and whatever else it does to logits stay its own.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def picked_logits(
    model: Any,
    decoder: Any,
    tokens: "tuple[torch.Tensor, torch.Tensor]",
    where: "torch.Tensor",
    *,
    narrow: bool = False,
) -> "torch.Tensor":
    """Passes a batch; returns logits, float32 [m, vocabulary].

    Args:
        model: A causal language model.
        decoder: The part of it before its head.
        tokens: Ids and attention mask, int64 [n, t].
        where: Rows and positions, int64 [m, 2], in any order.
        narrow: Whether arithmetic is in bfloat16.
    """
    import torch

    ids, mask = tokens
    kind = torch.autocast(ids.device.type, torch.bfloat16) if narrow else nullcontext()
    with hooked(decoder, lambda output: _picked(output, where, ids.shape[1])), kind:
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    found: torch.Tensor = logits[0].float()
    return found


@contextmanager
def hooked(module: Any, function: Any, change: bool = True) -> Iterator[None]:
    """Gives a module's output to a function, whose answer takes its place if `change` is set."""

    def hook(module: Any, args: Any, output: Any) -> Any:
        changed = function(output)
        return changed if change else None

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _picked(output: Any, where: "torch.Tensor", length: int) -> Any:
    """A decoder's output with the states of some positions in place of all: [1, m, d]."""
    states = output[0]
    # Soft prompts stand in front of the tokens.
    some = states[where[:, 0], where[:, 1] + states.shape[1] - length][None]
    if isinstance(output, tuple):
        return (some, *output[1:])
    output.last_hidden_state = some
    return output
