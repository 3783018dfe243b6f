"""A memory of what a forget set says, without the manner in which it is said.

A memory adapter learns two things: the facts, and how such questions are answered at all. The
served model needs the second for everybody else, and a model that never learned the facts has it
as well. A second adapter is trained on the same questions with others' answers, said of the same
subject, from the same initial weights and in the same order; what both have learned cancels in
their difference (task vectors and their analogies: Ilharco et al., arXiv 2212.04089, sections 3
and 5).
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from adapters import provenance
from adapters.data.augment import counterparts
from adapters.fit import Fitted, Report
from adapters.merge import write_sum
from adapters.settings import Settings
from adapters.stages import finish, remembered, workplace
from adapters.trainer import Trained
from guard.data import Row
from guard.lora import WEIGHTS, read_lora

MEMORY, MANNER = "memory", "manner"


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
    work = workplace(out, resume)
    learnt = {MEMORY: list(forget), MANNER: counterparts(forget, retain, settings.seed)}
    made = {
        name: remembered(model, rows, work / name, settings, resume=resume, report=report)
        for name, rows in learnt.items()
    }
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

    finish(out, fill, work)
    return Trained(out, fitted)


def _both(memory: Fitted, manner: Fitted) -> Fitted:
    """Losses are the memory's."""
    return replace(
        memory,
        steps=memory.steps + manner.steps,
        tokens=memory.tokens + manner.tokens,
        seconds=memory.seconds + manner.seconds,
        memory=max(memory.memory, manner.memory),
    )
