"""What `test_spread` runs in two processes: trainings of a model that is spread, and of one whole.

The first process prints, as JSON, what it found in each.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors.torch import save_file
from torch.distributed.tensor import DTensor

from adapters.checkpoint import Checkpoint
from adapters.fit import fit
from adapters.objectives import OBJECTIVES
from adapters.settings import Settings
from tests.adapters.causal import examples, tuned

# Uneven on purpose: the second process has a batch of the first's once more.
FORGET = examples([(9, 4), (6, 0), (7, 5), (5, 1), (8, 3)], seed=1)
RETAIN = examples([(7, 2), (6, 3), (9, 5), (4, 2), (8, 4), (5, 3), (6, 2)], seed=2)
EVEN = Settings(batch=1, epochs=3, learning_rate=1e-3)
OTHER = examples([(8, 4), (7, 0), (6, 5), (9, 1), (5, 3)], seed=3)


class Killed(Exception):
    pass


def trained(kind: str, spread: bool, family: str = "llama", **fields: Any) -> Any:
    """A model that an objective has trained."""
    made = OBJECTIVES.get(kind)
    model = tuned(family, zero=True)
    given = {**made.settings, "batch": 1, "epochs": 2, "spread": spread, **fields}
    other = OTHER if made.alternative else None
    settings = Settings.model_validate(given)
    fit(model, FORGET, RETAIN, settings, made(made.Options()), alternative=other)
    return model


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}


def same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def held(model: Any) -> float:
    """Which share of the base model's numbers this process holds; 0 where one is whole."""
    base = [p for n, p in model.named_parameters() if "lora_" not in n]
    if not all(isinstance(parameter, DTensor) for parameter in base):
        return 0.0
    own = sum(parameter.to_local().numel() for parameter in base)
    return own / sum(parameter.numel() for parameter in base)


def taken_up(folder: Path) -> bool:
    """Whether a training that was broken off in all processes ends as if it had not been."""
    made = OBJECTIVES.get("npo")
    fields = {**made.settings, "batch": 1, "epochs": 3, "spread": True, "save_every": 1}
    settings = Settings.model_validate(fields)

    class Dies(made):  # type: ignore[valid-type,misc]
        count = 0

        def after(self, step: Any, losses: Mapping[str, float]) -> None:
            self.count += 1
            if self.count == 5:
                raise Killed

    def go(name: str, resume: bool, kind: Any = made) -> Any:
        model = tuned(zero=True)
        checkpoint = Checkpoint(folder / name, {}, resume)
        Accelerator().wait_for_everyone()
        fit(model, FORGET, RETAIN, settings, kind(made.Options()), checkpoint=checkpoint)
        return model

    whole = go("whole", False)
    try:
        go("broken", False, Dies)
    except Killed:
        Accelerator().wait_for_everyone()
        return same(weights(whole), weights(go("broken", True)))
    return False


def main(folder: Path) -> None:
    """Trains everything twice and says what came of it."""
    found: dict[str, Any] = {"same": {}, "held": {}}
    cases: dict[str, dict[str, Any]] = {kind: {"kind": kind} for kind in OBJECTIVES.kinds()}
    del cases["lunar"]  # which reads a tokenizer's prompts
    cases["blur, combined"] = {"kind": "npo", "combine": "blur"}
    cases["computed again"] = {"kind": "npo", "checkpointing": True}
    cases["accumulated"] = {"kind": "rmu", "accumulate": 2}
    for family in ("qwen2", "gemma2", "granite", "gpt2"):
        cases[family] = {"kind": "kl", "family": family}
    for name, case in cases.items():
        plain, spread = trained(spread=False, **case), trained(spread=True, **case)
        found["same"][name] = same(weights(plain), weights(spread))
        found["held"][name] = held(spread)
        assert held(plain) == 0.0
    found["taken up"] = taken_up(folder)
    made = OBJECTIVES.get("npo")
    even = tuned(zero=True)
    fit(even, FORGET[:4], RETAIN[:4], EVEN, made(made.Options()))
    if Accelerator().is_main_process:
        save_file(weights(even), folder / "even.safetensors")
        print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
