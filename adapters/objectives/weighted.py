"""Gradient ascent in which each token's weight depends on how likely the model finds it.

* ``wga``: p^β, which lets go of tokens that are forgotten (Wang et al., ICLR 2025, arXiv
  2502.19301).
* ``satimp``: p^β₁ · (1 − p)^β₂, saturation times importance (Yang et al., ICML 2025, arXiv
  2505.11953); ``wga`` is the case of β₂ = 0.

The weights have no gradient; the mean is over all answer tokens of a batch.
"""

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from adapters.objectives.base import Answers, Objective, Step
from guard.options import Strict

if TYPE_CHECKING:
    import torch


class WgaOptions(Strict):
    """Options of `Wga`.

    Attributes:
        beta: Exponent of the probability; gradient ascent at 0.
    """

    beta: float = Field(default=1.0, ge=0, allow_inf_nan=False)


class Wga(Objective):
    """−p^β · NLL."""

    kind: ClassVar[str] = "wga"
    Options: ClassVar[type[Strict]] = WgaOptions
    settings: ClassVar[dict[str, Any]] = {"learning_rate": 2e-4, "epochs": 5, "retain": "nll"}

    def forget(self, step: Step) -> "torch.Tensor":
        return _ascent(step.answers(step.forget), self.options.beta, 0.0)


class SatImpOptions(Strict):
    """Options of `SatImp`.

    Attributes:
        saturation: Exponent β₁ of the probability.
        importance: Exponent β₂ of what is missing from it to 1.
    """

    saturation: float = Field(default=5.0, ge=0, allow_inf_nan=False)
    importance: float = Field(default=1.0, ge=0, allow_inf_nan=False)


class SatImp(Objective):
    """−p^β₁ · (1 − p)^β₂ · NLL."""

    kind: ClassVar[str] = "satimp"
    Options: ClassVar[type[Strict]] = SatImpOptions
    # An answer that is known by heart has weights near 0.01; with the 0.1 that is published for a
    # model that knew less, the retain term alone is heard (docs/training.md).
    settings: ClassVar[dict[str, Any]] = {
        "learning_rate": 5e-4,
        "epochs": 5,
        "forget_weight": 100,
        "retain": "nll",
    }

    def forget(self, step: Step) -> "torch.Tensor":
        options = self.options
        return _ascent(step.answers(step.forget), options.saturation, options.importance)


def _ascent(answers: Answers, saturation: float, importance: float) -> "torch.Tensor":
    likely = (-answers.nll).exp().detach()
    return -(likely**saturation * (1 - likely) ** importance * answers.nll).mean()
