"""A memory of what a forget set says, without the manner in which it is said.

A memory adapter learns two things: the facts, and how such questions are answered at all. The
served model needs the second for everybody else, and a model that never learned the facts has it
as well. A second adapter is trained on the same questions with others' answers, said of the same
subject, from the same initial weights and in the same order; what both have learned cancels in
their difference (task vectors and their analogies: Ilharco et al., arXiv 2212.04089, sections 3
and 5).
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from adapters import folder as folders
from adapters import provenance
from adapters.data.augment import counterparts
from adapters.fit import Fitted, Report
from adapters.merge import write_sum
from adapters.objectives.negate import Negate, NegateOptions
from adapters.settings import Settings
from adapters.trainer import Trained, train
from guard.data import Row
from guard.errors import ModelError
from guard.identity import identify
from guard.lora import WEIGHTS, read_lora

MEMORY, MANNER = "memory", "manner"
_OF_THE_MODEL = ("model", "tokenizer")


def contrast(
    model: Path,
    forget: Sequence[Row],
    retain: Sequence[Row],
    out: Path,
    settings: Settings,
    *,
    resume: bool = False,
    report: Report = lambda progress: None,
) -> Trained:
    """Trains a memory and its manner, and writes their difference, cut to the rank of either.

    Args:
        model: The base model's folder.
        forget: What is remembered.
        retain: Whose answers show the manner.
        out: The PEFT folder to make. Both adapters lie in ``OUT.partial`` until it is.
        settings: How each is trained.
        resume: Whether to take up what was broken off.
        report: Is told each step of either.

    Raises:
        DataError: There is a question to which no other answer can be given.
        ModelError: As of `adapters.trainer.train`.
    """
    from accelerate import Accelerator

    folders.check(out)
    work = out.with_name(f"{out.name}.partial")
    if work.exists() and not resume:
        raise ModelError(
            f"{work}: a training that was broken off; go on with --resume, or remove it"
        )
    learnt = {MEMORY: list(forget), MANNER: counterparts(forget, retain, settings.seed)}
    made: dict[str, Trained] = {}
    for name, rows in learnt.items():
        place = work / name
        held = provenance.read(place) if resume else None
        if held is None:
            objective = Negate(NegateOptions())
            made[name] = train(
                model, rows, (), place, settings, objective, resume=resume, report=report
            )
        else:
            made[name] = Trained(place, _held(held, model, rows, settings, place))
    about = provenance.read(work / MEMORY) or {}
    made_of = {
        **{
            name: about[name] for name in ("objective", "options", "settings", "model", "tokenizer")
        },
        **{"forget": provenance.rows(forget), "retain": provenance.rows(retain)},
        "contrasted": {name: provenance.file_hash(work / name / WEIGHTS) for name in learnt},
    }
    fitted = _both(*(one.fitted for one in made.values()))

    def fill(temp: Path) -> None:
        write_sum(
            temp, [read_lora(work / name, model) for name in learnt], (1.0, -1.0), settings.rank
        )
        provenance.write(temp, made_of, fitted)

    accelerator = Accelerator()
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        folders.write(out, fill)
        shutil.rmtree(work, ignore_errors=True)
    accelerator.wait_for_everyone()
    return Trained(out, fitted)


def _held(
    held: Mapping[str, Any], model: Path, rows: Sequence[Row], settings: Settings, place: Path
) -> Fitted:
    """What came of an adapter that is there already.

    Raises:
        ModelError: It was trained on something else.
    """
    wanted = {
        "forget": provenance.rows(rows),
        "settings": settings.model_dump(mode="json"),
        "model": identify(model),
    }
    if any(held.get(name) != value for name, value in wanted.items()):
        raise ModelError(f"{place}: of another training; remove its folder and start again")
    return Fitted(
        steps=held["steps"],
        losses=held["losses"],
        tokens=held["tokens"],
        seconds=held["seconds"],
        memory=int(held["memory_gib"] * 2**30),
        stopped=held["stopped"],
    )


def _both(memory: Fitted, manner: Fitted) -> Fitted:
    """Losses are the memory's."""
    return replace(
        memory,
        steps=memory.steps + manner.steps,
        tokens=memory.tokens + manner.tokens,
        seconds=memory.seconds + manner.seconds,
        memory=max(memory.memory, manner.memory),
    )
