"""Trains sharded adapters: every stage of every order, each on top of the one before."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from adapters import folder as folders
from adapters import provenance
from adapters.fit import Report
from adapters.objectives.base import Objective
from adapters.records import write_record
from adapters.registry import digest
from adapters.settings import Settings
from adapters.shards.manifest import ADAPTER, Manifest, Shard, Stage, longest, stage_folder, write
from adapters.trainer import train
from guard.data import Row
from guard.errors import DataError, GuardError, ModelError
from guard.identity import identify

_PLAN = "plan.json"


def train_shards(
    model: Path,
    shards: Mapping[str, Sequence[Row]],
    retain: Sequence[Row],
    out: Path,
    settings: Settings,
    objective: Callable[[], Objective],
    *,
    layers: int | None = None,
    orders: int = 1,
    resume: bool = False,
    report: Callable[[int, int], Report] = lambda order, stage: lambda progress: None,
) -> Manifest:
    """Trains; the same arguments give the same adapters on one kind of machine.

    Args:
        model: The base model's folder; it stays as it is.
        shards: The rows of each by name, in the order in which they are learnt: what is deleted
            first stands last.
        retain: What is kept, in every stage; may be empty where the objective needs none.
        out: The folder to make; what was made of a broken-off training is in ``OUT.partial``.
        settings: How each stage is trained; its ``layers`` must be left out.
        objective: Makes a fresh forget term.
        layers: Decoder layers of a shard; by default the model's are shared out evenly.
        orders: How many rotations of the shards are trained.
        resume: Whether to take up a training of the same that was broken off.
        report: Is told an order and a stage, both from 0; returns what is told each step.

    Raises:
        DataError: The shards or orders do not do.
        ModelError: As of `adapters.trainer.train`.
    """
    from accelerate import Accelerator

    folders.check(out)
    if Accelerator().num_processes > 1:
        raise ModelError("accelerate: shards are trained in one process; start it without launch")
    if not shards:
        raise DataError("shards: give at least one")
    if not 1 <= orders <= len(shards):
        raise DataError(f"orders: {orders}: {len(shards)} shards have 1 to {len(shards)} rotations")
    if settings.layers is not None:
        raise DataError("layers: are shared out among the shards; say how many each has")
    depth = _depth(model)
    each = layers or depth // len(shards)
    if each < 1 or each * len(shards) > depth:
        raise DataError(
            f"layers: {len(shards)} shards need {max(each, 1) * len(shards)}, and {model} has "
            f"{depth}; give fewer shards, or fewer layers each"
        )
    known = tuple(Shard(name, **provenance.rows(rows)) for name, rows in shards.items())
    first = objective()
    made_of: dict[str, Any] = {
        "model": identify(model),
        "objective": first.kind,
        "options": first.options.model_dump(mode="json"),
        "settings": settings.model_dump(mode="json"),
        "retain": provenance.rows(retain),
        "layers": each,
    }
    work = out.with_name(f"{out.name}.partial")
    _begin(work, {**made_of, "shards": [vars(shard) for shard in known], "orders": orders}, resume)
    stages = []
    try:
        for number in range(orders):
            names = [*shards][number:] + [*shards][:number]
            for at in range(len(names)):
                home = stage_folder(work, number, at)
                if home.exists():
                    continue  # made before it was broken off
                top = depth - at * each
                train(
                    model,
                    [row for name in names[: at + 1] for row in shards[name]],
                    retain,
                    home,
                    settings.model_copy(update={"layers": tuple(range(top - each, top))}),
                    objective(),
                    beneath=stage_folder(work, number, at - 1) if at else None,
                    resume=resume,
                    report=report(number, at),
                )
            stages.append(
                tuple(
                    Stage(name, digest(stage_folder(work, number, at)))
                    for at, name in enumerate(names)
                )
            )
    except GuardError:
        if not any((work / "orders").rglob("*.safetensors")):  # nothing that could be taken up
            shutil.rmtree(work, ignore_errors=True)
        raise
    manifest = Manifest(made_of, known, tuple(stages), longest(stages))
    _end(work, out, manifest)
    return manifest


def _begin(work: Path, plan: Mapping[str, Any], resume: bool) -> None:
    """Makes the folder in which is trained, or takes it up."""
    path = work / _PLAN
    if work.exists():
        if not resume:
            raise ModelError(
                f"{work}: a training that was broken off; go on with --resume, or remove it"
            )
        try:
            before = json.loads(path.read_bytes())
        except (OSError, ValueError):
            raise ModelError(f"{path}: damaged; remove its folder and start again") from None
        plan = json.loads(json.dumps(plan))
        if other := sorted(name for name in plan if before.get(name) != plan[name]):
            raise ModelError(
                f"{work}: was begun with another {', '.join(other)}; give what it was begun with, "
                "or remove it"
            )
        return
    try:
        work.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise ModelError(f"{work}: cannot be written: {error.strerror}") from None
    write_record(path, dict(plan))


def _end(work: Path, out: Path, manifest: Manifest) -> None:
    """Gives what was trained its place."""
    assert manifest.serves is not None
    last = stage_folder(work, manifest.serves, len(manifest.orders[manifest.serves]) - 1)
    try:
        shutil.copytree(last, work / ADAPTER, dirs_exist_ok=True)
        write(work, manifest)
        (work / _PLAN).unlink()
        if out.exists():
            out.rmdir()
        work.rename(out)
    except OSError as error:
        raise ModelError(f"{out}: cannot be written: {error.strerror or error}") from None


def _depth(model: Path) -> int:
    """How many decoder layers a model has."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(model)
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(f"{model}: no causal language model: {reason}") from None
    return int(config.get_text_config().num_hidden_layers)
