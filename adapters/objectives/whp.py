"""WHP: learning what the model would say had it never been told.

Who's Harry Potter (Eldan and Russinovich, 2023, arXiv 2310.02238, section 2.1): a reinforced model,
trained further on what is to be forgotten, shows by the logits that rise which tokens come from
there; what is left without them is learnt. The model at hand is its baseline, and the reinforced
one an adapter over it. The dictionary of anchor terms (section 2.2) is not part of it.
"""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from adapters.objectives.base import Answers, Objective, Step, Workshop
from guard.options import Strict

if TYPE_CHECKING:
    import torch


class WhpOptions(Strict):
    """Options of `Whp`.

    Attributes:
        alpha: How much of a logit's rise is taken from it.
        labels: Whether the likeliest token that is left is learnt, or the whole distribution.
        epochs: Passes over the forget rows that reinforce.
        learning_rate: Of these.
    """

    alpha: float = Field(default=5.0, gt=0, allow_inf_nan=False)
    labels: Literal["argmax", "soft"] = "argmax"
    epochs: int = Field(default=3, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0, allow_inf_nan=False)


class Whp(Objective):
    """Cross entropy to v_base − α · ReLU(v_reinforced − v_base), the mean over answer tokens."""

    kind: ClassVar[str] = "whp"
    inside: ClassVar[bool] = True
    Options: ClassVar[type[Strict]] = WhpOptions
    settings: ClassVar[dict[str, Any]] = {"learning_rate": 2e-4, "retain": "none"}

    def prepare(self, workshop: Workshop) -> None:
        workshop.reinforce(_nll, self.options.epochs, self.options.learning_rate)

    def forget(self, step: Step) -> "torch.Tensor":
        from torch.nn.functional import cross_entropy

        left = generic(
            step.reference(step.forget), step.reinforced(step.forget), self.options.alpha
        )
        wanted = left.argmax(-1) if self.options.labels == "argmax" else left.softmax(-1)
        return cross_entropy(step.answers(step.forget).logits, wanted)


def _nll(step: Step) -> "torch.Tensor":
    return step.answers(step.forget).nll.mean()


def generic(base: Answers, reinforced: Answers, alpha: float) -> "torch.Tensor":
    """Logits of what is left where logits that rose are lowered, [m, vocabulary]."""
    return base.logits - alpha * (reinforced.logits - base.logits).relu()
