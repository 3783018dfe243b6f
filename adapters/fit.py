"""The training loop, whatever is trained: a LoRA, soft prompts, a small assistant.

With several processes (``accelerate launch``) each has the whole model and its share of the
batches, and the gradients are averaged.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adapters.objectives.base import Batch, Objective, Step
from adapters.objectives.retain import RETAIN
from adapters.settings import Settings
from guard.data import Row
from guard.errors import DataError

if TYPE_CHECKING:
    import torch

    from adapters.attribution import Wagle
    from adapters.batches import Example
    from adapters.checkpoint import Checkpoint
    from adapters.regularizers.base import Regularizer
    from adapters.step import Passes


@dataclass(frozen=True)
class Progress:
    """How far a training has come.

    Attributes:
        step: Steps made.
        steps: How many there will be, unless it stops early.
        losses: Of this step: ``forget``, and ``retain`` and ``regularizers`` where there are any.
        tokens: Tokens that were trained on a second, in this process.
        seconds: Since the beginning, broken-off parts left out.
        left: Seconds that are left, as it seems.
    """

    step: int
    steps: int
    losses: Mapping[str, float]
    tokens: float
    seconds: float
    left: float


Report = Callable[[Progress], None]
RetainTerm = Callable[[Step, Batch], "torch.Tensor"]


@dataclass(frozen=True)
class Fitted:
    """What came of a training.

    Attributes:
        steps: How many were made.
        losses: Mean losses of each epoch.
        tokens: How many tokens were passed forward and back, padding left out, by all processes.
        seconds: What it took.
        memory: The most memory that it held, in bytes: the GPU's, or the whole process's.
        stopped: Why it ended before its last step; None where it did not.
    """

    steps: int
    losses: Sequence[Mapping[str, float]]
    tokens: int
    seconds: float
    memory: int
    stopped: str | None = None


def fit(
    model: Any,
    forget: "Sequence[Example]",
    retain: "Sequence[Example]",
    settings: Settings,
    objective: Objective,
    *,
    alternative: "Sequence[Example] | None" = None,
    retain_term: RetainTerm | None = None,
    regularizers: "Sequence[Regularizer]" = (),
    mask: "Wagle | None" = None,
    passes: "Passes | None" = None,
    texts: Sequence[Row] = (),
    tokenizer: Any = None,
    checkpoint: "Checkpoint | None" = None,
    report: Report = lambda progress: None,
) -> Fitted:
    """Trains what requires a gradient in a PEFT model, in place.

    The same arguments give the same weights on one kind of machine, whatever was drawn before.

    Args:
        model: A `peft.PeftModel` with one adapter, of any kind, in it; its base is frozen. Any
            model where `passes` are given.
        forget: The forget rows as tokens (`adapters.batches.encode_rows`).
        retain: The retain rows; may be empty where nothing needs them.
        settings: How. Rank, alpha, dropout, modules, layers and tokens are the caller's to heed.
        objective: The forget term.
        alternative: Another answer to each forget question, matched by `Example.row`; forget rows
            without one are left out.
        retain_term: Instead of what ``settings.retain`` names.
        regularizers: What is added to the loss.
        mask: Which rows of the weights the adapter may change; all of them without.
        passes: How the model is passed; as a PEFT model by default.
        texts: The forget rows, for objectives that prepare something from them.
        tokenizer: The model's, for the same.
        checkpoint: Where to take up from and save to; None neither. Of a training that diverges
            none is left.
        report: Is told each step, in the first process.

    Raises:
        DataError: There is nothing to train on, or retain rows are missing.
        ModelError: The loss is not finite, a checkpoint cannot be read or written, or the model
            is to be spread over processes.
    """
    import torch

    from adapters.descent import Diverged
    from adapters.loop import Loop

    if alternative is not None:
        other = {example.row: example for example in alternative}
        forget = [example for example in forget if example.row in other]
        alternative = [other[example.row] for example in forget]
    if not forget:
        raise DataError("forget: there is nothing to learn from; give rows with an answer")
    if not retain and objective.needs_retain:
        raise DataError(f"retain: {objective.kind} needs rows that are kept; give --retain")
    if not retain and settings.forget_weight == 0:
        raise DataError("forget_weight: is 0, and there are no retain rows; nothing is trained")
    rows = {"forget": forget, "retain": retain, "alternative": alternative or ()}
    term = retain_term or retain_of(settings)
    with torch.random.fork_rng():
        loop = Loop(model, rows, settings, objective, term, regularizers, passes)
        loop.prepare(texts, tokenizer)
        if mask is not None:
            loop.mask(mask)
        try:
            return loop.run(checkpoint, report)
        except Diverged:
            if checkpoint is not None:
                checkpoint.remove()  # it would only lead there again
            raise


def retain_of(settings: Settings) -> RetainTerm | None:
    """The retain term that settings name: one of `RETAIN`."""
    if settings.retain == "none":
        return None
    return RETAIN[settings.retain]
