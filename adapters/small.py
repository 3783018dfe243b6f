"""CMC's small model: trained beside the served one, which is frozen, and added to it for good.

A model of 15 to 110 million parameters learns what the two are to say together, log_softmax(z) +
α · z_small (`adapters.beside`), with any objective that goes by what a model says. All of its
weights are trained, and its tokenizer may be another than the served model's. What it learns on
the retain rows is to keep out of the way.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from adapters import folder as folders
from adapters import provenance
from adapters.assistants import save_assistant
from adapters.batches import encode_rows
from adapters.settings import Settings
from guard.data import Row
from guard.errors import DataError, ModelError

if TYPE_CHECKING:
    from adapters.fit import Fitted, Report
    from adapters.objectives.base import Objective

ALPHA = 1.0
OBJECTIVE = "idk"  # ours, as are alpha and the rate: not CMC's figures
# All weights of a small model, not a LoRA's: what is added to it moves it further.
SETTINGS: Mapping[str, Any] = {"learning_rate": 1e-4}


def train_small(
    target: Path,
    small: Path,
    forget: Sequence[Row],
    retain: Sequence[Row],
    out: Path,
    settings: Settings,
    objective: "Objective",
    *,
    alpha: float = ALPHA,
    resume: bool = False,
    report: "Report" = lambda progress: None,
) -> "Fitted":
    """Trains a small model; the same arguments give the same weights on one kind of machine.

    Args:
        target: The served model's folder; it stays as it is.
        small: The small model's folder; likewise. Any causal language model in safetensors whose
            layers all attend.
        forget: What is to be forgotten.
        retain: What is kept.
        out: The model folder to make, with tokenizer and safetensors.
        settings: How; what shapes a LoRA does not count.
        objective: The forget term, fresh.
        alpha: How much of the small model's logits is added.
        resume: Whether to take up a training of the same that was broken off.
        report: Is told each step.

    Raises:
        GuardError: Rows or models do not do, or `out` is in the way; nothing is written.
    """
    from accelerate import Accelerator

    from adapters.beside import Beside
    from adapters.checkpoint import Checkpoint
    from adapters.data.alternatives import ALTERNATIVES
    from adapters.data.augment import with_alternatives
    from adapters.fit import fit
    from adapters.machine import arithmetic
    from adapters.model import load
    from guard.identity import identify

    folders.check(out)
    if objective.inside or settings.retain == "states":
        what = objective.kind if objective.inside else "retain: states"
        raise DataError(f"{what}: goes by more than what a model says; take another")
    if alpha == 0:
        raise DataError("alpha: is 0, so that the small model would say nothing")
    device = Accelerator().device
    base = load(target, settings)
    other = load(small, settings.model_copy(update={"dtype": "float32"}))
    try:
        passes = Beside(
            base.model,
            base.tokenizer,
            other.model.requires_grad_(True),
            other.tokenizer,
            alpha,
            device=device,
            narrow="bfloat16" in str(arithmetic(settings, device.type)),
        )
    except ModelError as error:
        raise ModelError(f"{small}: {error}") from None
    asked: Sequence[Row] | None = None
    if objective.alternative is not None:
        written = objective.alternative == "written"
        rows = with_alternatives(forget, settings.seed, retain) if written else forget
        asked = ALTERNATIVES[objective.alternative](rows, Random(settings.seed))
    left_out = 0

    def encoded(rows: Sequence[Row]) -> Any:
        nonlocal left_out
        found = encode_rows(base.tokenizer, rows, settings.tokens)
        read = [example for example in found if passes.fits(example)]
        left_out += len(found) - len(read)
        return read

    made_of: dict[str, Any] = {
        "kind": "small",
        "objective": objective.kind,
        "options": objective.options.model_dump(mode="json"),
        "alpha": alpha,
        "settings": settings.model_dump(mode="json"),
        "model": identify(target),
        "small": identify(small),
        "tokenizer": provenance.tokens(base.tokenizer),
        "forget": provenance.rows(forget),
        "retain": provenance.rows(retain),
        "alternative": None if asked is None else provenance.rows(asked),
    }
    checkpoint = Checkpoint(out, made_of, resume)
    fitted = fit(
        other.model,
        encoded(forget),
        encoded(retain),
        settings,
        objective,
        alternative=None if asked is None else encoded(asked),
        passes=passes,
        texts=forget,
        tokenizer=base.tokenizer,
        checkpoint=checkpoint,
        report=report,
    )
    about = {"version": 1, **made_of, "too_long": left_out, **provenance.outcome(fitted)}
    save_assistant(out, other.model.to(other.saved), other.tokenizer, about)
    checkpoint.remove()
    return fitted
