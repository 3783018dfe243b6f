"""From losses to new weights: gradients added up or projected, cut, and taken by AdamW."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from adapters.settings import Settings
from guard.errors import ModelError

if TYPE_CHECKING:
    import torch

_MOMENTS = ("exp_avg", "exp_avg_sq", "step")  # AdamW's own names


class Diverged(ModelError):
    """A loss or a gradient is not finite."""


class Descent:
    """The parameters of a model that are trained, and how they move.

    Gradients are averaged here and not by a wrapper of the model, so that an objective may pass
    the model as often as it likes before it has a loss.

    Args:
        model: The PEFT model.
        settings: Weights of the terms, clipping, decay.
        accelerator: An `accelerate.Accelerator`.

    Attributes:
        trained: The parameters by name.
    """

    def __init__(self, model: Any, settings: Settings, accelerator: Any) -> None:
        import torch

        self.trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self._settings = settings
        self._accelerator = accelerator
        self._optimizer = torch.optim.AdamW(
            self.trained.values(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self._apart: list[list[torch.Tensor]] = []  # forget and retain gradients, for blur
        self._held: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}  # what moves, and from where

    def hold(self, rows: "Mapping[str, torch.Tensor]") -> None:
        """Lets only some rows of some parameters move; the others keep the values they have now.

        Args:
            rows: By the name of a parameter, which of its rows move, bool [rows].
        """
        for name, moving in rows.items():
            parameter = self.trained[name]
            self._held[name] = moving.to(parameter.device)[:, None], parameter.detach().clone()

    def add(self, terms: "Mapping[str, torch.Tensor]", parts: int, factor: float = 1.0) -> None:
        """Adds the gradient of one forward pass to that of the step.

        Args:
            terms: Of the loss, by name, not weighed yet.
            parts: How many passes the step has.
            factor: Of the retain term, beside its weight.
        """
        settings = self._settings
        weights = {"forget": settings.forget_weight, "retain": factor * settings.retain_weight}
        weighed = {name: weights.get(name, 1.0) / parts * term for name, term in terms.items()}
        if settings.combine == "sum" or len(weighed) < 2 or "forget" not in weighed:
            self._accelerator.backward(total(weighed.values()))
            return
        forget = self._gradient(weighed.pop("forget"), keep=True)
        found = [forget, self._gradient(total(weighed.values()), keep=False)]
        if self._apart:
            found = [
                [a + b for a, b in zip(old, new, strict=True)]
                for old, new in zip(self._apart, found, strict=True)
            ]
        self._apart = found

    def step(self, rate: float, where: str) -> None:
        """Moves the parameters.

        Args:
            rate: The learning rate.
            where: Which step this is, for the message.

        Raises:
            ModelError: The gradient is not finite; nothing has moved.
        """
        import torch

        if self._apart:
            forget, retain = (self._averaged(gradients) for gradients in self._apart)
            gradients = project(forget, retain)
            self._apart = []
        else:
            held = (p.grad for p in self.trained.values())
            gradients = [
                torch.zeros_like(parameter) if gradient is None else gradient
                for parameter, gradient in zip(self.trained.values(), held, strict=True)
            ]
            gradients = self._averaged(gradients)
        for (name, parameter), gradient in zip(self.trained.items(), gradients, strict=True):
            # Before the norm is taken, in which what does not move has no part.
            parameter.grad = gradient * self._held[name][0] if name in self._held else gradient
        norm = self._accelerator.clip_grad_norm_(
            list(self.trained.values()), self._settings.clip or math.inf
        )
        if not math.isfinite(float(norm)):
            raise not_finite("gradient", where)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        self._optimizer.zero_grad()
        with torch.no_grad():
            for name, (moving, initial) in self._held.items():  # which weight decay moves as well
                parameter = self.trained[name]
                parameter.copy_(torch.where(moving, parameter, initial))

    def tensors(self) -> "dict[str, torch.Tensor]":
        """The parameters and AdamW's moments, for a checkpoint."""
        found = {f"weight/{name}": p.detach() for name, p in self.trained.items()}
        for name, parameter in self.trained.items():
            state = self._optimizer.state[parameter]
            found |= {f"{moment}/{name}": state[moment] for moment in _MOMENTS}
        return {name: tensor.cpu().contiguous() for name, tensor in found.items()}

    def load(self, tensors: "Mapping[str, torch.Tensor]") -> None:
        """Takes them up again.

        Raises:
            ModelError: They are those of other parameters.
        """
        import torch

        wanted = {f"{part}/{name}" for part in ("weight", *_MOMENTS) for name in self.trained}
        if missing := wanted - set(tensors):
            raise ModelError(f"the checkpoint lacks {len(missing)} tensors; remove its folder")
        for name, parameter in self.trained.items():
            with torch.no_grad():
                parameter.copy_(tensors[f"weight/{name}"])
            state = {
                moment: tensors[f"{moment}/{name}"].to(parameter.device) for moment in _MOMENTS[:2]
            }
            self._optimizer.state[parameter] = {**state, "step": tensors[f"step/{name}"]}

    def _gradient(self, loss: "torch.Tensor", keep: bool) -> "list[torch.Tensor]":
        """The gradient of a loss alone."""
        import torch

        trained = list(self.trained.values())
        # What an objective passed once may stand behind both losses.
        found = torch.autograd.grad(loss, trained, retain_graph=keep, allow_unused=True)
        return [
            torch.zeros_like(parameter) if gradient is None else gradient
            for parameter, gradient in zip(trained, found, strict=True)
        ]

    def _averaged(self, gradients: "list[torch.Tensor]") -> "list[torch.Tensor]":
        if self._accelerator.num_processes == 1:
            return gradients
        found: list[torch.Tensor] = self._accelerator.reduce(gradients, "mean")
        return found


def project(
    forget: "Sequence[torch.Tensor]", retain: "Sequence[torch.Tensor]"
) -> "list[torch.Tensor]":
    """The forget gradient, plus what of the retain gradient is orthogonal to it.

    g_f + g_r − (⟨g_r, g_f⟩ / ‖g_f‖²) · g_f: to first order the retain term neither hinders nor
    helps the forgetting (BLUR, arXiv 2506.08164, with γ = 1). The product is over all parameters at
    once. Where there is nothing left to forget, nothing is taken off.
    """
    import torch

    along = total([torch.sum(f.double() * r.double()) for f, r in zip(forget, retain, strict=True)])
    length = total([torch.sum(f.double() ** 2) for f in forget])
    share = float(along / length) if length > 0 else 0.0
    return [f + r - share * f for f, r in zip(forget, retain, strict=True)]


def total(values: "Iterable[torch.Tensor]") -> "torch.Tensor":
    """The sum of at least one scalar."""
    first, *rest = values
    for value in rest:
        first = first + value
    return first


def not_finite(what: str, where: str) -> Diverged:
    """The error of a training that has gone astray."""
    return Diverged(
        f"{where}: the {what} is not finite; lower learning_rate, or take another objective"
    )
