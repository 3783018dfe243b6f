"""RMU: hidden states of what is to be forgotten are steered into a random direction.

Li et al., ICML 2024, arXiv 2403.03218. Published for layer 7 of 32 with the
``down_proj`` of layers 5 to 7 trained; where a model has fewer layers, at the same share of them.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from adapters.objectives.base import Objective, Step
from adapters.objectives.states import distance
from guard.options import Strict

if TYPE_CHECKING:
    import torch

_LAYER, _DEPTH = 7, 32


class RmuOptions(Strict):
    """Options of `Rmu`.

    Attributes:
        steering: How long the vector is to which states are steered.
        tokens: Which tokens' states: all of a row, or those of the answer alone. What stands before
            every question alike, such as a system text, cannot be steered in forget rows and kept
            in retain rows, so that the two terms pull at it in vain.
    """

    steering: float = Field(default=20.0, gt=0, allow_inf_nan=False)
    tokens: Literal["all", "answer"] = "all"


class Rmu(Objective):
    """‖h − c·u‖² / d after the last adapted layer, u a unit vector drawn once; rows weigh alike.

    u is uniform in [0, 1) and divided by its length, as published.
    """

    kind: ClassVar[str] = "rmu"
    inside: ClassVar[bool] = True
    Options: ClassVar[type[Strict]] = RmuOptions
    needs_retain: ClassVar[bool] = True
    settings: ClassVar[dict[str, Any]] = {"modules": ("down_proj",), "retain": "states"}

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self._direction: torch.Tensor | None = None

    def layers(self, depth: int) -> list[int] | None:
        last = min(_LAYER, round(_LAYER / _DEPTH * depth))
        return list(range(max(0, last - 2), last + 1))

    def forget(self, step: Step) -> "torch.Tensor":
        import torch

        states = step.states(step.forget, step.layer)
        if self._direction is None:
            drawn = torch.rand(states.shape[-1], generator=step.random, device=step.random.device)
            self._direction = drawn / drawn.norm()
        wanted = self.options.steering * self._direction.to(states.device)
        answer = step.forget.labels >= 0
        mask = answer if self.options.tokens == "answer" else step.forget.attention_mask
        return distance(states, wanted, mask)

    def state(self) -> dict[str, Any]:
        return {} if self._direction is None else {"direction": self._direction}

    def load(self, state: Mapping[str, Any]) -> None:
        self._direction = state.get("direction")
