"""LUNAR: states of what is to be forgotten are moved to where the model knows no answer.

Shen et al., NeurIPS 2025, arXiv 2502.07218: r is the difference between the mean hidden state of
questions that cannot be answered and that of the forget questions, at the last token before an
answer; one ``down_proj`` is trained so that a forget question's states move by a multiple of r
while those of retain questions stay. As nothing else is trained, the distance of that layer's
output is the distance of the ``down_proj``'s. Published for the whole matrix of layer 22 (from 0)
of 32; here it is a LoRA of it, in the layer at the same share of a model's depth.
"""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from adapters.objectives.base import Batch, Objective, Step, Workshop
from adapters.objectives.states import distance
from guard.data import read_rows
from guard.errors import DataError
from guard.options import File, Strict

if TYPE_CHECKING:
    import torch

_LAYER, _DEPTH = 22, 32


class LunarOptions(Strict):
    """Options of `Lunar`.

    Attributes:
        unanswerable: JSON lines of questions that the model cannot answer, or refuses to; fifty
            invented ones by default.
        strength: How many times r states are moved.
        tokens: Which are moved: the last one before the answer, where it begins, or all before it,
            as in the published code. What stands before every question alike, such as a system
            text, cannot be moved in forget rows and stay in retain rows.
    """

    unanswerable: File | None = None
    strength: float = Field(default=2.0, gt=0, allow_inf_nan=False)
    tokens: Literal["last", "prompt"] = "last"


class Lunar(Objective):
    """‖h − (h_before + c·r)‖² / d after the adapted layer; rows weigh alike."""

    kind: ClassVar[str] = "lunar"
    inside: ClassVar[bool] = True
    Options: ClassVar[type[Strict]] = LunarOptions
    needs_retain: ClassVar[bool] = True
    settings: ClassVar[dict[str, Any]] = {
        "modules": ("down_proj",),
        "epochs": 20,
        "retain": "states",
    }

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self._move: torch.Tensor | None = None

    def layers(self, depth: int) -> list[int] | None:
        return [round(_LAYER / (_DEPTH - 1) * (depth - 1))]

    def prepare(self, workshop: Workshop) -> None:
        asked = [row.prompt for row in workshop.forget if row.answer]
        if not asked:
            raise DataError(
                "lunar moves what is asked; give forget rows with a question and an answer"
            )
        means = (
            workshop.prompt_states(questions, workshop.layer).mean(0)
            for questions in (self._unanswerable(), asked)
        )
        unknown, known = means
        self._move = self.options.strength * (unknown - known)

    def forget(self, step: Step) -> "torch.Tensor":
        assert self._move is not None, "prepare comes first"
        before = step.reference_states(step.forget, step.layer)
        wanted = before + self._move.to(before)
        mask = before_answer(step.forget, only_last=self.options.tokens == "last")
        return distance(step.states(step.forget, step.layer), wanted, mask)

    def _unanswerable(self) -> list[str]:
        from importlib.resources import as_file, files

        if self.options.unanswerable is not None:
            return [row.prompt for row in read_rows(self.options.unanswerable)]
        with as_file(files("adapters.objectives") / "unanswerable.jsonl") as path:
            return [row.prompt for row in read_rows(path)]


def before_answer(batch: Batch, only_last: bool) -> "torch.Tensor":
    """Which tokens stand before each row's answer, or which is the last of them: bool [n, t].

    A passage, which is all answer, has its first token there.
    """
    import torch

    last = ((batch.labels >= 0).int().argmax(-1, keepdim=True) - 1).clamp(min=0)
    place = torch.arange(batch.labels.shape[1], device=last.device)
    return place == last if only_last else place <= last
