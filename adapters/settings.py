"""How an adapter is trained: everything that is the same whatever the objective."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from guard.errors import DataError
from guard.options import Strict

if TYPE_CHECKING:
    from adapters.objectives.base import Objective

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class Settings(Strict):
    """How an adapter is trained.

    Defaults are those that were measured for adapters of small models; where an objective needs
    others, its `Objective.settings` say so.

    Attributes:
        rank: Rank of the LoRA.
        alpha: Its factor, times the rank.
        dropout: Share of what goes into it that is dropped.
        modules: Linear modules that it adapts by the ends of their names; all but the head.
        layers: Decoder layers that it adapts, from 0; all of them by default.
        epochs: Passes over the forget rows.
        max_steps: Steps after which training ends in any case.
        learning_rate: Of AdamW, at its highest; it falls along a cosine to zero.
        warmup: Share of the steps in which it rises.
        weight_decay: Of AdamW.
        batch: Forget rows in a forward pass of one process, and retain rows.
        accumulate: Forward passes that make a step.
        clip: Norm to which the gradient of a step is cut; 0 never cuts.
        tokens: Of a row; what is longer is cut.
        retain: What holds the retain answers: their negative log-likelihood, their divergence from
            what they were, the hidden states of them, or nothing.
        forget_weight: Of the objective.
        retain_weight: Of the retain term.
        combine: ``sum`` adds the two; ``blur`` projects the gradient of the retain term off that of
            the objective, which has its way first (BLUR, arXiv 2506.08164).
        dtype: Of the arithmetic; ``auto`` is bfloat16 where a GPU has it, else float32. What is
            trained is float32 in any case.
        checkpointing: Whether layers are computed again for the gradient: less memory, more time.
        spread: Whether the processes share the weights of the base model out between them (FSDP2),
            where no GPU holds it whole; ``accelerate launch --use_fsdp`` asks for the same.
        save_every: Steps from one checkpoint to the next; 0 makes none.
        stop_below: Training ends after the epoch at whose end the mean probability of the forget
            answers, a token, is below this.
        stop_above: The same, above this.
        seed: Of order, dropout, initial weights, and whatever the objective draws.
    """

    rank: Count = 32
    alpha: Positive = 64
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    modules: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    layers: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    epochs: Count = 10
    max_steps: Count | None = None
    learning_rate: Positive = 1e-3
    warmup: Share = 0.0
    weight_decay: NotNegative = 0.0
    batch: Count = 8
    accumulate: Count = 1
    clip: NotNegative = 1.0
    tokens: Annotated[int, Field(ge=2)] = 1024
    retain: Literal["none", "nll", "kl", "states", "nll+kl"] = "nll"
    forget_weight: NotNegative = 1.0
    retain_weight: NotNegative = 1.0
    combine: Literal["sum", "blur"] = "sum"
    dtype: Literal["float32", "bfloat16", "auto"] = "auto"
    checkpointing: bool = False
    spread: bool = False
    save_every: Annotated[int, Field(ge=0)] = 50
    stop_below: Share | None = None
    stop_above: Share | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0

    @field_validator("modules", "layers", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        """A command line says ``a,b`` where a file says ``[a, b]``."""
        if isinstance(value, str) and value != "all-linear":
            return [part.strip() for part in value.split(",") if part.strip()]
        return [value] if isinstance(value, int) else value

    @model_validator(mode="after")
    def _something(self) -> "Settings":
        if self.modules != "all-linear" and not self.modules:
            raise ValueError("modules: name at least one, or say all-linear")
        if self.layers is not None and not self.layers:
            raise ValueError("layers: name at least one, or leave it out for all of them")
        if self.forget_weight == 0 and (self.retain_weight == 0 or self.retain == "none"):
            raise ValueError("forget_weight: is 0, and so is everything else; nothing is trained")
        return self


def settings_for(objective: "type[Objective]", given: Mapping[str, Any]) -> Settings:
    """Settings of one training: what is given, else what the objective wants, else the defaults.

    Raises:
        DataError: A field is unknown or holds what it cannot.
    """
    try:
        return Settings.model_validate({**objective.settings, **given})
    except ValidationError as error:
        raise DataError(said(error, "settings")) from None


def said(error: ValidationError, what: str) -> str:
    """The first fault that pydantic found, in one line that quotes no value.

    Args:
        error: What it raised.
        what: Whose fields these are.
    """
    first = error.errors(include_url=False, include_context=True, include_input=False)[0]
    field = first.get("ctx", {}).get("field") or ".".join(
        str(part) for part in first["loc"] if not str(part).startswith(("literal", "tuple"))
    )
    reason = first["msg"].removeprefix("Value error, ")
    return f"{what}: {field}: {reason}" if field else f"{what}: {reason}"
