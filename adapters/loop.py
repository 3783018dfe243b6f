"""One training, step by step: losses, update, checkpoint, report."""

import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from adapters.attribution import Wagle
from adapters.batches import Example, pad
from adapters.checkpoint import Checkpoint, State
from adapters.descent import Descent, not_finite
from adapters.fit import Fitted, Progress, Report, RetainTerm
from adapters.machine import arithmetic, most_memory
from adapters.objectives.base import Batch, Objective
from adapters.regularizers.base import Regularizer
from adapters.schedule import Schedule
from adapters.settings import Settings
from adapters.spread import is_spread, spread
from adapters.step import ModelStep, Passes
from adapters.stopping import enough
from adapters.workshop import ModelWorkshop
from guard.data import Row
from guard.errors import ModelError

if TYPE_CHECKING:
    import torch

_SPLITS = ("forget", "retain", "alternative")


class Loop:
    """A training; see `adapters.fit.fit`, which checks what it is given.

    Args:
        model: A PEFT model.
        rows: Examples by split: ``forget``, ``retain`` and ``alternative``; the last is empty, or
            in the order of the first.
        settings: How.
        objective: The forget term.
        retain: The retain term.
        regularizers: What is added.
        passes: How the model is passed, where it is no PEFT model by itself.
    """

    def __init__(
        self,
        model: Any,
        rows: Mapping[str, Sequence[Example]],
        settings: Settings,
        objective: Objective,
        retain: RetainTerm | None,
        regularizers: Sequence[Regularizer],
        passes: Passes | None = None,
    ) -> None:
        import torch
        from accelerate import Accelerator

        self._rows = rows
        self._settings = settings
        self._objective = objective
        self._retain = retain
        self._regularizers = regularizers
        self._accelerator = Accelerator()
        self._device = self._accelerator.device
        self._spread = is_spread(settings, self._accelerator)
        if self._spread:
            self._model = spread(model, self._device, self._accelerator.num_processes)
        else:
            self._model = model.to(self._device)
        self._passes = passes or Passes(
            model,
            narrow=arithmetic(settings, self._device.type) == torch.bfloat16,
            checkpointing=settings.checkpointing,
            remember=not self._spread,  # a pass that one process is spared, all would wait for
        )
        self._descent = Descent(model, settings, self._accelerator)
        self._schedule = Schedule(
            rows["forget"],
            rows["retain"],
            settings,
            self._accelerator.process_index,
            self._accelerator.num_processes,
        )
        self._random = torch.Generator().manual_seed(settings.seed)
        self._step = 0
        self._epochs: list[dict[str, float]] = []  # sums of losses
        self._tokens, self._seconds = 0, 0.0  # of what was broken off

    def prepare(self, texts: Sequence[Row], tokenizer: Any) -> None:
        """Lets the objective make what it needs beforehand."""
        rows = self._rows["forget"]
        self._objective.prepare(ModelWorkshop(self._passes, rows, self._settings, texts, tokenizer))

    def mask(self, mask: Wagle) -> None:
        """Holds the rows of the adapter fast that a mask does not pick.

        Raises:
            ModelError: The weights that it scores are spread.
        """
        if self._spread:
            raise ModelError("--mask: scores whole weights; give none where the model is spread")

        def average(scores: "torch.Tensor") -> "torch.Tensor":
            found: torch.Tensor = self._accelerator.reduce(scores, "mean")
            return found

        forget, retain = self._rows["forget"], self._rows["retain"]
        size = self._settings.batch
        self._descent.hold(mask.rows(self._passes, forget, retain, size, average))

    def run(self, checkpoint: Checkpoint | None, report: Report) -> Fitted:
        """Trains to the end."""
        if checkpoint is not None and (state := checkpoint.load()) is not None:
            self._restore(state)
        steps, every = self._schedule.steps, self._settings.save_every
        began, first, stopped = time.monotonic(), self._step, None
        while self._step < steps and stopped is None:
            losses = self._make(self._step)
            self._remember(losses)
            self._step += 1
            spent = time.monotonic() - began
            if self._accelerator.is_main_process:
                left = spent / (self._step - first) * (steps - self._step)
                speed = self._passes.tokens / max(spent, 1e-9)
                report(Progress(self._step, steps, losses, speed, self._seconds + spent, left))
            if self._step % self._schedule.in_epoch == 0:
                stopped = enough(self._passes, self._rows["forget"], self._settings)
            if checkpoint is not None and every and self._step % every == 0 and self._step < steps:
                self._save(checkpoint, time.monotonic() - began)
        return Fitted(
            steps=self._step,
            losses=[_means(sums) for sums in self._epochs],
            tokens=self._all_tokens(),
            seconds=self._seconds + time.monotonic() - began,
            memory=most_memory(self._device),
            stopped=stopped,
        )

    def _make(self, number: int) -> dict[str, float]:
        """Makes a step (from 0); returns its losses."""
        import torch

        # Seeded anew, dropout is a function of the step, and none of its state has to be kept.
        key = f"{self._settings.seed}/{number}/{self._accelerator.process_index}"
        torch.manual_seed(int.from_bytes(hashlib.sha256(key.encode()).digest()[:7], "big"))
        passes = self._schedule.rows(number)
        where = f"training, step {number + 1}"
        factor = self._objective.retain_factor()
        sums: dict[str, float] = {}
        for forget, retain in passes:
            step = self._shown(forget, retain, number / self._schedule.steps)
            terms = self._terms(step)
            values = torch.stack([term.detach().float() for term in terms.values()]).tolist()
            if not all(map(math.isfinite, values)):
                raise not_finite("loss", where)
            for name, value in zip(terms, values, strict=True):
                sums[name] = sums.get(name, 0.0) + value / len(passes)
            self._descent.add(terms, len(passes), factor)
        self._descent.step(self._schedule.rate(number), where)
        sums = self._averaged(sums)
        self._objective.after(step, sums)
        return sums

    def _averaged(self, losses: dict[str, float]) -> dict[str, float]:
        """The losses of all processes, so that they all go on alike."""
        if self._accelerator.num_processes == 1:
            return losses
        import torch

        mine = torch.tensor(list(losses.values()), device=self._device)
        return dict(zip(losses, self._accelerator.reduce(mine, "mean").tolist(), strict=True))

    def _shown(self, forget: Sequence[int], retain: Sequence[int], done: float) -> ModelStep:
        """A step over some rows, by position."""
        found: dict[str, Batch | None] = {}
        for split, places in zip(_SPLITS, (forget, retain, forget), strict=True):
            held = self._rows[split]
            examples = [held[n] for n in places] if held else []
            found[split] = pad(examples, self._device, split) if examples else None
        shown = found["forget"]
        assert shown is not None  # every pass has forget rows
        return ModelStep(
            self._passes, shown, found["retain"], found["alternative"], self._random, done
        )

    def _terms(self, step: ModelStep) -> "dict[str, torch.Tensor]":
        """The terms of the loss, before they are weighed."""
        terms = {}
        if self._settings.forget_weight:
            terms["forget"] = self._objective.forget(step)
        if step.retain is not None and self._retain is not None and self._settings.retain_weight:
            terms["retain"] = self._retain(step, step.retain)
        for regularizer in self._regularizers:
            terms[regularizer.kind] = regularizer.loss(self._model)
        return terms

    def _remember(self, losses: Mapping[str, float]) -> None:
        if self._step % self._schedule.in_epoch == 0:
            self._epochs.append({"steps": 0})
        sums = self._epochs[-1]
        for name, value in {**losses, "steps": 1}.items():
            sums[name] = sums.get(name, 0.0) + value

    def _all_tokens(self) -> int:
        import torch

        mine = torch.tensor(self._passes.tokens, device=self._device)
        return self._tokens + int(self._accelerator.reduce(mine, "sum"))

    def _save(self, checkpoint: Checkpoint, spent: float) -> None:
        tokens = self._all_tokens()
        if not self._accelerator.is_main_process:
            return
        import torch

        tensors = {**self._descent.tensors(), "random": self._random.get_state()}
        state = self._objective.state()
        tensors |= {f"objective/{n}": v for n, v in state.items() if isinstance(v, torch.Tensor)}
        known = [[split, row, nll] for (split, row), nll in self._passes.known.items()]
        data = {
            "step": self._step,
            "epochs": self._epochs,
            "tokens": tokens,
            "seconds": self._seconds + spent,
            "known": known,
            "objective": {n: v for n, v in state.items() if not isinstance(v, torch.Tensor)},
        }
        checkpoint.save(State(tensors, data))

    def _restore(self, state: State) -> None:
        data = state.data
        self._descent.load(state.tensors)
        self._random.set_state(state.tensors["random"])
        self._step, self._epochs = data["step"], data["epochs"]
        self._tokens, self._seconds = data["tokens"], data["seconds"]
        self._passes.known.update({(split, row): nll for split, row, nll in data["known"]})
        part = "objective/"
        tensors = {
            name.removeprefix(part): tensor.to(self._device)
            for name, tensor in state.tensors.items()
            if name.startswith(part)
        }
        self._objective.load({**data["objective"], **tensors})


def _means(sums: Mapping[str, float]) -> dict[str, float]:
    return {name: value / sums["steps"] for name, value in sums.items() if name != "steps"}
