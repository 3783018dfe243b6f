"""Trainings of several stages: each is an adapter of its own, and is not trained twice."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from adapters import folder as folders
from adapters import provenance
from adapters.fit import Fitted, Report
from adapters.objectives.negate import Negate, NegateOptions
from adapters.settings import Settings
from adapters.trainer import Trained, train
from guard.data import Row
from guard.errors import ModelError
from guard.identity import identify


def workplace(out: Path, resume: bool) -> Path:
    """Returns the folder that the stages of a training lie in until it is done.

    Args:
        out: What is made in the end.
        resume: Whether to take up what was broken off.

    Raises:
        ModelError: `out` is in the way, or something was broken off that is not to be taken up.
    """
    folders.check(out)
    work = out.with_name(f"{out.name}.partial")
    if work.exists() and not resume:
        raise ModelError(
            f"{work}: a training that was broken off; go on with --resume, or remove it"
        )
    return work


def remembered(
    model: Path,
    rows: Sequence[Row],
    place: Path,
    settings: Settings,
    *,
    tokenizer: Path | None = None,
    resume: bool,
    report: Report,
) -> Trained:
    """Has a LoRA learn rows by heart, or takes the one that is there.

    Args:
        model: The model's folder.
        rows: What is learned.
        place: The PEFT folder to make.
        settings: How.
        tokenizer: As of `adapters.trainer.train`.
        resume: Whether one that is there is taken.
        report: Is told each step.

    Raises:
        ModelError: The one that is there was trained on something else; or as of `train`.
    """
    held = provenance.read(place) if resume else None
    if held is not None:
        wanted = {
            "forget": provenance.rows(rows),
            "settings": settings.model_dump(mode="json"),
            "model": identify(model),
            "template": None if tokenizer is None else identify(tokenizer),
        }
        if any(held.get(name) != value for name, value in wanted.items()):
            raise ModelError(f"{place}: of another training; remove its folder and start again")
        return Trained(place, _fitted(held))
    objective = Negate(NegateOptions())
    return train(
        model, rows, (), place, settings, objective,
        tokenizer=tokenizer, resume=resume, report=report,
    )  # fmt: skip


def finish(out: Path, fill: Callable[[Path], None], work: Path) -> None:
    """Makes the folder in one process of several, and removes what its stages lay in.

    Args:
        out: The folder.
        fill: Writes into the folder that it is given.
        work: As of `workplace`.

    Raises:
        ModelError: It cannot be written, or as `fill` says; the stages stay.
    """
    from accelerate import Accelerator

    accelerator = Accelerator()
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        folders.write(out, fill)
        shutil.rmtree(work, ignore_errors=True)
    accelerator.wait_for_everyone()


def _fitted(held: Mapping[str, Any]) -> Fitted:
    """What came of an adapter that is there already, by its provenance."""
    return Fitted(
        steps=held["steps"],
        losses=held["losses"],
        tokens=held["tokens"],
        seconds=held["seconds"],
        memory=int(held["memory_gib"] * 2**30),
        stopped=held["stopped"],
    )
