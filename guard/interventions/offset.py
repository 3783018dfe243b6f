"""Logit offsets: a small assistant's logits are taken off the served model's, token by token.

The formulas and their sources stand with what applies them, `guard.steering.offset`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from guard.decision import Finding
from guard.errors import InterventionError, ModelError
from guard.interventions.base import Intervention, Material, Request, ServedModel
from guard.options import File, Strict
from guard.parts import Parts
from guard.steering import PROCESSOR
from guard.steering.assistant import Assistant, check, identity
from guard.steering.vocabulary import cross


class OffsetOptions(Strict):
    """Options of `Offset`.

    Attributes:
        assistant: The folder of a causal language model that has learned what is to be forgotten,
            with its tokenizer and safetensors weights. It stays where it is: a bundle knows its
            place and its hash.
        adapter: The PEFT folder of a LoRA on top of the assistant; likewise.
        base: The folder of what the assistant was before it learned; then only the difference is
            taken off.
        alpha: How much is taken off; 0.8 as in ULD. A negative one adds (CMC).
        filter: Tokens below this part of the likeliest one's probability are ruled out, but for
            the likeliest part of the vocabulary of that size; 0 rules out none.
        rectified: Only what the assistant has gained over the base, or else over the served
            model itself, is taken off (WHP).
    """

    assistant: File
    adapter: File | None = None
    base: File | None = None
    alpha: float = Field(default=0.8, ge=-100, le=100, allow_inf_nan=False)
    filter: float = Field(default=1e-2, ge=0, lt=1)
    rectified: bool = False

    @model_validator(mode="after")
    def _does_something(self) -> "OffsetOptions":
        if self.alpha == 0 or (self.rectified and self.alpha < 0):
            why = "'alpha' must not be 0" if self.alpha == 0 else "'rectified' needs an 'alpha' > 0"
            raise PydanticCustomError("offset", "{why}", {"why": why, "field": "alpha"})
        return self


class Offset(Intervention):
    """Has the engine take an assistant's logits off those of a flagged request."""

    kind: ClassVar[str] = "offset"
    Options: ClassVar[type[Strict]] = OffsetOptions
    strictness: ClassVar[int] = 25

    def __init__(self, target: str, options: Any, parts: Parts) -> None:
        super().__init__(target, options, parts)
        self._plan: dict[str, Any] = {
            "assistant": parts.data["assistant"],
            "base": parts.data["base"],
            **options.model_dump(include={"alpha", "filter", "rectified"}),
        }
        for model in filter(None, (self._plan["assistant"], self._plan["base"])):
            check(model["folder"], model["adapter"], model["sha256"])

    @property
    def engine_args(self) -> Mapping[str, Any]:
        """What steers logits in the engine's process."""
        return {"logits_processors": [PROCESSOR]}

    @classmethod
    def fit(cls, material: Material, options: Any) -> Parts:
        """Tries the assistant beside the served model, and notes which one it is."""
        assistant = _tried(material, "assistant", options.assistant, options.adapter)
        base = options.base and _tried(material, "base", options.base, None)
        if base and base["sha256"] == assistant["sha256"]:
            raise ModelError("base: is the assistant itself, so nothing would be taken off")
        return Parts({"assistant": assistant, "base": base})

    def apply(self, request: Request, finding: Finding, model: ServedModel) -> Request:
        """Adds the plan; once, where several targets have the same one."""
        if not request.view.text:
            raise InterventionError("a flagged prompt holds nothing that could be read along")
        if self._plan in request.steering.get(self.kind, ()):
            return request
        return request.steer(self.kind, self._plan)


def _tried(material: Material, field: str, path: Path, adapter: Path | None) -> dict[str, Any]:
    """Loads an assistant as the engine will; returns its place and hash."""
    tokenizer = material.tokenizer
    folder = str(path.resolve())
    lora = None if adapter is None else str(adapter.resolve())
    try:
        sha256 = identity(folder, lora)
        assistant = Assistant(folder, lora)
        crossing = cross(tokenizer, assistant.tokenizer, len(tokenizer), ())
        if crossing is None and assistant.size < len(tokenizer):
            raise ModelError(
                f"{folder}: knows {assistant.size} tokens, its tokenizer has {len(tokenizer)}"
            )
        if not assistant.forward([0], None).isfinite().any():
            raise ModelError(f"{folder}: its logits are no numbers")
    except ModelError as error:
        raise ModelError(f"{field}: {error}") from None
    return {"folder": folder, "adapter": lora, "sha256": sha256}
