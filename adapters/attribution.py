"""Weight attribution: which rows of the weights an adapter may change (after WAGLE).

WAGLE (Jia et al., NeurIPS 2024, arXiv 2410.17509; the score as its published code has it,
``OPTML-Group/WAGLE``, ``generate_mask.py``) scores each weight θ of a model by what taking it away
would do to the forget loss once the retain loss has been minimised again,

    S = θ · ∇ℓ_forget − (1/γ) · ∇ℓ_retain · ∇ℓ_forget

with the retain loss's curvature taken as γ times the identity, and trains the share of all weights
with the highest |S|. Both losses are negative log-likelihoods of the rows' answers.

Two things differ, since it is a LoRA that is trained here. A change of low rank cannot be confined
to single weights; what it can be confined to is rows of the weights, the outputs of a module, for
row o of the change B A is B's row o times A. So a row is scored, by the mean of |S| over its
weights, and the rows of all adapted modules are ranked together. What is held fast is the LoRA's
own numbers: a row of B that is not picked keeps its initial values, which in a new LoRA are zeros,
so that row of the base weight stays as it is, bit for bit. (The same score over A and B themselves
would say nothing: B begins as zero, and with it every gradient of A.) And the gradients are
those of means over all answer tokens, where WAGLE's code adds up its batches; γ is that code's, at
which the second term decides.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from adapters.batches import Example, pad
from adapters.descent import not_finite
from guard.errors import DataError
from guard.options import Strict

if TYPE_CHECKING:
    import torch

    from adapters.step import Passes


class WagleOptions(Strict):
    """Options of `Wagle`.

    Attributes:
        share: Of the rows of all adapted weights, how many are trained; WAGLE has 0.8 to 0.95 on
            TOFU.
        gamma: The curvature of the retain loss.
    """

    share: Annotated[float, Field(gt=0, lt=1)]
    gamma: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-6


class Wagle:
    """Chooses the rows of the weights that an adapter may change.

    Args:
        options: How many, and how they are scored.
    """

    def __init__(self, options: WagleOptions) -> None:
        self.options = options

    def made_of(self) -> dict[str, Any]:
        """What determines it, for checkpoints and provenance."""
        return {"kind": "wagle", "options": self.options.model_dump(mode="json")}

    def rows(
        self,
        passes: "Passes",
        forget: Sequence[Example],
        retain: Sequence[Example],
        size: int,
        average: "Callable[[torch.Tensor], torch.Tensor]" = lambda scores: scores,
    ) -> "dict[str, torch.Tensor]":
        """Scores and picks.

        The base weights' gradients are held meanwhile: twice what the adapted weights take, in
        float32.

        Args:
            passes: Of the PEFT model, before its training.
            forget: The forget rows.
            retain: The retain rows.
            size: Rows in a batch.
            average: Averages scores over processes, so that all pick the same.

        Returns:
            For each lora_B, by the name of the parameter, which of its rows are trained, bool
            [outputs].

        Raises:
            DataError: There are no retain rows.
            ModelError: A gradient is not finite.
        """
        import torch

        if not retain:
            raise DataError("retain: a mask is drawn from rows that are kept too; give --retain")
        modules = {
            name: module
            for name, module in passes.model.named_modules()
            if getattr(module, "lora_B", None)
        }
        weights = {name: module.get_base_layer().weight for name, module in modules.items()}
        passes.model.eval()
        for weight in weights.values():
            weight.requires_grad_(True)
        try:
            forgets, retains = (
                _gradients(passes, list(weights.values()), rows, size) for rows in (forget, retain)
            )
        finally:
            for weight in weights.values():
                weight.requires_grad_(False)
            passes.train()
        scores = []
        for module, weight, one, other in zip(
            modules.values(), weights.values(), forgets, retains, strict=True
        ):
            found = score(weight.detach().float(), one, other, self.options.gamma)
            # GPT-2's layers hold their weights with the outputs last.
            scores.append(found.mean(0 if getattr(module, "fan_in_fan_out", False) else 1))
        picked = highest(average(torch.cat(scores)), self.options.share)
        parts = torch.split(picked, [len(part) for part in scores])
        own = passes.model.active_adapter
        names = [f"{name}.lora_B.{own}.weight" for name in modules]
        return dict(zip(names, parts, strict=True))


def score(
    weight: "torch.Tensor", forget: "torch.Tensor", retain: "torch.Tensor", gamma: float
) -> "torch.Tensor":
    """WAGLE's |S| of each weight.

    Args:
        weight: The weights.
        forget: The gradient of the forget loss, of the same shape.
        retain: That of the retain loss.
        gamma: The curvature of the retain loss.
    """
    return ((weight - retain / gamma) * forget).abs()


def highest(scores: "torch.Tensor", share: float) -> "torch.Tensor":
    """Picks the share with the highest scores, at least one; of equals the first. bool [n].

    Raises:
        ModelError: A score is not finite.
    """
    import torch

    if not scores.isfinite().all():
        raise not_finite("gradient", "weight attribution")
    count = max(round(share * len(scores)), 1)
    picked = torch.zeros(len(scores), dtype=torch.bool, device=scores.device)
    picked[torch.argsort(scores, descending=True, stable=True)[:count]] = True
    return picked


def _gradients(
    passes: "Passes", weights: "Sequence[torch.Tensor]", examples: Sequence[Example], size: int
) -> "list[torch.Tensor]":
    """Of the mean negative log-likelihood of an answer's token, float32."""
    import torch

    ordered = sorted(examples, key=lambda example: len(example.ids))
    sums = [torch.zeros_like(weight, dtype=torch.float32) for weight in weights]
    count = 0
    for at in range(0, len(ordered), size):
        nll = passes.now(pad(ordered[at : at + size], passes.device)).nll
        count += len(nll)
        found = torch.autograd.grad(nll.sum(), list(weights), allow_unused=True)
        for total, gradient in zip(sums, found, strict=True):
            if gradient is not None:
                total += gradient.float()
    return [total / count for total in sums]
