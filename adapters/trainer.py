"""Trains a LoRA with an objective, and writes the folder that a policy serves."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters import folder as folders
from adapters import provenance
from adapters.attribution import Wagle
from adapters.batches import Example, encode_rows
from adapters.checkpoint import Checkpoint
from adapters.data.alternatives import ALTERNATIVES
from adapters.data.augment import with_alternatives
from adapters.data.prune import Hidden, pruned
from adapters.fit import Fitted, Report, fit
from adapters.model import Base, add_lora, continue_lora, load, save_adapter, stack_lora
from adapters.objectives.base import Objective
from adapters.regularizers.base import Regularizer
from adapters.settings import Settings
from adapters.spread import is_spread
from guard.data import Row
from guard.errors import ModelError
from guard.identity import identify
from guard.lora import WEIGHTS, Lora, read_lora

__all__ = ["Trained", "fit", "train"]


@dataclass(frozen=True)
class Trained:
    """An adapter that was made.

    Attributes:
        folder: Its PEFT folder.
        fitted: What came of the training.
        left_out: How many forget rows were pruned.
    """

    folder: Path
    fitted: Fitted
    left_out: int = 0


def train(
    model: Path,
    forget: Sequence[Row],
    retain: Sequence[Row],
    out: Path,
    settings: Settings,
    objective: Objective,
    *,
    regularizers: Sequence[Regularizer] = (),
    prune: float | None = None,
    mask: Wagle | None = None,
    continued: Path | None = None,
    beneath: Path | None = None,
    tokenizer: Path | None = None,
    resume: bool = False,
    report: Report = lambda progress: None,
) -> Trained:
    """Trains an adapter; the same arguments give the same weights on one kind of machine.

    Args:
        model: The base model's folder; it stays as it is.
        forget: What is forgotten; bare names have no answer and are left out.
        retain: What is kept; may be empty where the objective needs none.
        out: The PEFT folder to make; it must not be there, or be empty. Checkpoints lie in
            ``OUT.partial`` while it is trained.
        settings: How.
        objective: The forget term, fresh.
        regularizers: What is added to the loss; their earlier adapters must fit the model.
        prune: Share of the forget rows that is left out, those that lie apart from the rest
            (UPCORE, `adapters.data.prune`).
        mask: Which rows of the weights the adapter may change; all of them without.
        continued: A PEFT folder to go on from; rank, alpha and modules are that adapter's.
        beneath: A PEFT folder of the same rank, alpha and modules on other layers, which is at work
            while this is trained on ``settings.layers``. It stays as it is, bit for bit, and is
            part of what is written.
        tokenizer: A model's folder whose tokenizer and chat template are taken in place of the
            base model's own.
        resume: Whether to take up a training of the same that was broken off.
        report: Is told each step.

    Returns:
        The folder, written whole or not at all, and the figures of the training.

    Raises:
        DataError: No row can be learnt, or rows are missing that the objective needs.
        ModelError: The model cannot be loaded, an adapter does not fit it, the loss is not finite,
            or `out` is in the way or cannot be written.
    """
    from accelerate import Accelerator

    accelerator = Accelerator()
    folders.check(out)
    base = load(model, settings, tokenizer)
    vocabulary = provenance.tokens(base.tokenizer)
    for regularizer in regularizers:
        for path in regularizer.earlier:
            fitting(path, base, vocabulary)
    learnt = list(forget)
    if prune is not None:
        if is_spread(settings, accelerator):
            raise ModelError(
                "--prune: reads with the whole model; prune no rows of one that is spread"
            )
        represent = Hidden(base.model.to(accelerator.device), base.tokenizer, most=settings.tokens)
        learnt = pruned(forget, represent, prune, settings.seed)
    if continued is not None:
        lora = fitting(continued, base, vocabulary)
        shape = {"rank": lora.r, "alpha": lora.alpha, "modules": lora.modules}
        settings = settings.model_copy(update=shape)
        tuned = continue_lora(base, continued)
    elif beneath is not None:
        fitting(beneath, base, vocabulary)
        tuned = stack_lora(base, settings, beneath)
    else:
        layers = settings.layers if settings.layers is not None else objective.layers(base.depth)
        tuned = add_lora(base, settings, layers)
    other: Sequence[Row] | None = None
    if objective.alternative is not None:
        asked: Sequence[Row] = learnt
        if objective.alternative == "written":  # what nobody wrote is made by rules
            asked = with_alternatives(learnt, settings.seed, retain)
        other = ALTERNATIVES[objective.alternative](asked, random.Random(settings.seed))
    made_of: dict[str, Any] = {
        "objective": objective.kind,
        "options": objective.options.model_dump(mode="json"),
        "settings": settings.model_dump(mode="json"),
        "regularizers": [regularizer.made_of() for regularizer in regularizers],
        "forget": provenance.rows(forget),
        "pruned": None if prune is None else _pruned(prune, forget, learnt),
        "mask": None if mask is None else mask.made_of(),
        "retain": provenance.rows(retain),
        "alternative": None if other is None else provenance.rows(other),
        "model": identify(model),
        "tokenizer": vocabulary,
        "template": None if tokenizer is None else identify(tokenizer),
        "continued": None if continued is None else provenance.file_hash(continued / WEIGHTS),
        "beneath": None if beneath is None else provenance.file_hash(beneath / WEIGHTS),
        "processes": accelerator.num_processes,
    }
    checkpoint = Checkpoint(out, made_of, resume)

    def encoded(rows: Sequence[Row]) -> list[Example]:
        return encode_rows(base.tokenizer, rows, settings.tokens)

    fitted = fit(
        tuned,
        encoded(learnt),
        encoded(retain),
        settings,
        objective,
        alternative=None if other is None else encoded(other),
        regularizers=regularizers,
        mask=mask,
        texts=learnt,
        tokenizer=base.tokenizer,
        checkpoint=checkpoint,
        report=report,
    )

    def fill(temp: Path) -> None:
        save_adapter(tuned, temp, base.saved)
        provenance.write(temp, made_of, fitted)

    if accelerator.is_main_process:
        folders.write(out, fill)
        checkpoint.remove()
    accelerator.wait_for_everyone()
    return Trained(out, fitted, len(forget) - len(learnt))


def _pruned(share: float, forget: Sequence[Row], learnt: Sequence[Row]) -> dict[str, Any]:
    """What provenance says of a pruning: counts, and the hash of what was trained on."""
    left_out = len(forget) - len(learnt)
    return {"kind": "upcore", "share": share, "left_out": left_out, **provenance.rows(learnt)}


def fitting(adapter: Path, base: Base, vocabulary: str) -> Lora:
    """Reads an earlier adapter that must be one for a model.

    Args:
        adapter: Its PEFT folder.
        base: The model.
        vocabulary: `adapters.provenance.tokens` of its tokenizer.

    Raises:
        ModelError: It was trained with another tokenizer, or has other shapes.
    """
    held = provenance.read(adapter)
    if held is not None and held.get("tokenizer", vocabulary) != vocabulary:
        raise ModelError(
            f"{adapter / provenance.NAME}: tokenizer: is not that of {base.folder}; "
            "give an adapter of this model"
        )
    return read_lora(adapter, base.folder)
