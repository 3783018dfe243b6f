"""SimNPO: NPO without a reference model (Fan et al., NeurIPS 2025, arXiv 2410.07163)."""

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from adapters.objectives.base import Objective, Step
from guard.options import Strict

if TYPE_CHECKING:
    import torch


class SimNpoOptions(Strict):
    """Options of `SimNpo`.

    Attributes:
        beta: Inverse temperature.
        delta: Nats a token by which an answer must have become less likely than certain.
    """

    beta: float = Field(default=4.5, gt=0, allow_inf_nan=False)
    delta: float = Field(default=0.0, ge=0, allow_inf_nan=False)


class SimNpo(Objective):
    """−(2/β) · log σ(β·(NLL − δ)), NLL the mean over an answer's tokens: length does not count."""

    kind: ClassVar[str] = "simnpo"
    Options: ClassVar[type[Strict]] = SimNpoOptions
    # The forget weight is the one published for TOFU. At the others' 2e-4 a LoRA forgot next to
    # nothing with it (docs/training.md).
    settings: ClassVar[dict[str, Any]] = {
        "learning_rate": 1e-3,
        "forget_weight": 0.125,
        "retain": "nll",
    }

    def forget(self, step: Step) -> "torch.Tensor":
        from torch.nn.functional import logsigmoid

        answers = step.answers(step.forget)
        beta: float = self.options.beta
        margin = answers.average(answers.nll) - self.options.delta
        return -2 / beta * logsigmoid(beta * margin).mean()
