"""The contract of a training objective: what a step gives, and what an objective makes of it.

A step's loss is ``forget_weight · forget + retain_weight · retain_factor · retain``, and whatever
regularisers add to it; an objective is the first term. Formulas are written over `Answers`: what a
model says where an answer's tokens stand, and nowhere else, so that no prompt token ever counts.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from guard.data import Row
from guard.options import Strict

if TYPE_CHECKING:
    import torch

# Another answer to each forget question: a refusal; another row's answer; or an answer that says
# something else in the same manner (from the forget file, or made by augmentation).
Alternative = Literal["refusal", "other", "written"]


@dataclass(frozen=True)
class Answers:
    """What a model says of a batch's answers, one entry a token that counts.

    Attributes:
        logits: Before each answer token, float32 [m, vocabulary].
        labels: The answer tokens, int64 [m].
        rows: Which row each is of, int64 [m], ascending; every row has at least one.
    """

    logits: "torch.Tensor"
    labels: "torch.Tensor"
    rows: "torch.Tensor"

    @cached_property
    def nll(self) -> "torch.Tensor":
        """Of each token, in nats, float32 [m]."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(self.logits, self.labels, reduction="none")

    def total(self, values: "torch.Tensor") -> "torch.Tensor":
        """Sums [m] over each row's tokens: [rows]."""
        import torch

        found = torch.zeros(self.count, dtype=values.dtype, device=values.device)
        return found.index_add(0, self.rows, values)

    def average(self, values: "torch.Tensor") -> "torch.Tensor":
        """Averages [m] over each row's tokens: [rows]."""
        import torch

        return self.total(values) / self.total(torch.ones_like(values))

    @property
    def count(self) -> int:
        """How many rows."""
        return int(self.rows[-1]) + 1


class Batch(Protocol):
    """Some rows, tokenised and padded on the right; made by `adapters.batches`.

    Attributes:
        input_ids: int64 [n, t].
        attention_mask: int64 [n, t]; 0 where padded.
        labels: int64 [n, t]; -100 but where an answer's token stands.
    """

    input_ids: "torch.Tensor"
    attention_mask: "torch.Tensor"
    labels: "torch.Tensor"


class Step(Protocol):
    """One step of training, as an objective sees it. Nothing is computed that is not asked for.

    Attributes:
        forget: Rows to be forgotten.
        retain: Rows that must be kept; None where there are none.
        alternative: The forget rows' questions with the answers that `Objective.alternative`
            asks for; None where it asks for none.
        random: For whatever an objective draws; its state is part of a checkpoint.
        done: Part of the training that lies behind, from 0 up to 1.
        layer: The last decoder layer (from 0) that the adapter changes.
    """

    forget: Batch
    retain: Batch | None
    alternative: Batch | None
    random: "torch.Generator"
    done: float
    layer: int

    def answers(self, batch: Batch) -> Answers:
        """What the model in training says, with its gradient."""
        ...

    def reference(self, batch: Batch) -> Answers:
        """What the model said before training: its adapter is off, and there is no gradient."""
        ...

    def reference_nll(self, batch: Batch) -> "torch.Tensor":
        """The sum over each row's tokens of the same, [rows]; remembered from epoch to epoch."""
        ...

    def reinforced(self, batch: Batch) -> Answers:
        """What it says with the adapter of `Workshop.reinforce` instead, without gradient."""
        ...

    def states(self, batch: Batch, layer: int) -> "torch.Tensor":
        """Hidden states after a decoder layer (from 0), with their gradient, [n, t, d]."""
        ...

    def reference_states(self, batch: Batch, layer: int) -> "torch.Tensor":
        """The same before training, without gradient."""
        ...


class Workshop(Protocol):
    """What an objective can have made before its training, see `Objective.prepare`.

    Attributes:
        forget: Rows to be forgotten.
        layer: As `Step.layer`.
    """

    forget: Sequence[Row]
    layer: int

    def reinforce(
        self, loss: Callable[[Step], "torch.Tensor"], epochs: int, learning_rate: float
    ) -> None:
        """Trains a second adapter of the same shape on a loss over the forget rows.

        It begins as new, with a seed of its own; nothing else is kept of it than what
        `Step.reinforced` answers.
        """
        ...

    def prompt_states(self, questions: Sequence[str], layer: int) -> "torch.Tensor":
        """Hidden states before training where answers would begin, float32 [questions, d].

        They are taken after a decoder layer (from 0), at the last token of the chat template around
        each question.
        """
        ...


class Objective(ABC):
    """A forget loss. One object serves one training, and may keep a state of its own.

    Args:
        options: An `Options`.

    Attributes:
        kind: Its name on the command line.
        Options: What ``--option name=value`` may set.
        alternative: Which other answers it trains on, if any.
        needs_retain: Whether there must be retain rows for it to mean anything.
        inside: Whether it asks for more than what a model says: hidden states, a second adapter.
        settings: Defaults of `adapters.settings.Settings` that differ for it, measured or its
            source's; the comment beside says which.
    """

    kind: ClassVar[str]
    Options: ClassVar[type[Strict]] = Strict
    alternative: ClassVar[Alternative | None] = None
    needs_retain: ClassVar[bool] = False
    inside: ClassVar[bool] = False
    settings: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, options: Any) -> None:
        self.options = options

    def layers(self, depth: int) -> list[int] | None:
        """Which of so many decoder layers get an adapter if the settings do not say; None: all."""
        return None

    def prepare(self, workshop: Workshop) -> None:  # noqa: B027 - few need it
        """Makes what the objective needs beforehand.

        Is called once at every start, a resumed one too, before `load`; it must come out the same.
        """

    @abstractmethod
    def forget(self, step: Step) -> "torch.Tensor":
        """The forget term of the loss, a scalar with its gradient."""

    def retain_factor(self) -> float:
        """What the weight of the next step's retain term is multiplied by, as a dual wants."""
        return 1.0

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold of it: tensors, numbers and lists of numbers by name."""
        return {}

    def load(self, state: Mapping[str, Any]) -> None:  # noqa: B027 - most have none
        """Takes up a state again."""

    def after(self, step: Step, losses: Mapping[str, float]) -> None:  # noqa: B027 - few care
        """Is told the losses of a step that was made, ``forget`` and ``retain``, unweighted."""
