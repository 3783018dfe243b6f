"""Several processes: they train as one does, also where they share out the base model's weights."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from adapters.attribution import Wagle, WagleOptions
from adapters.fit import fit
from adapters.objectives import OBJECTIVES
from adapters.settings import Settings
from adapters.spread import is_spread
from adapters.step import Passes
from adapters.trainer import train
from guard.errors import ModelError
from tests.adapters.causal import tuned
from tests.adapters.spreading import EVEN, FORGET, RETAIN, weights
from tests.adapters.tiny import FORGET as ROWS
from tests.adapters.tiny import make_model


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What two processes print; ``even`` is an adapter that they have trained together."""
    folder = tmp_path_factory.mktemp("spread")
    command = [
        *[sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"],
        *["-m", "tests.adapters.spreading", str(folder)],
    ]
    given = {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    root = Path(__file__).parents[2]
    done = subprocess.run(
        command, cwd=root, env=os.environ | given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    held: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**held, "even": load_file(folder / "even.safetensors")}


def test_every_objective_and_family_trains_the_same_where_the_model_is_spread(
    found: dict[str, Any],
) -> None:
    assert {*OBJECTIVES.kinds()} - {"lunar"} <= found["same"].keys()
    assert [name for name, same in found["same"].items() if not same] == []


def test_each_of_two_processes_holds_half_of_the_model(found: dict[str, Any]) -> None:
    assert all(0.49 < share < 0.52 for share in found["held"].values()), found["held"]


def test_a_spread_training_that_is_taken_up_again_ends_the_same(found: dict[str, Any]) -> None:
    assert found["taken up"]


def test_two_processes_make_the_steps_of_one(found: dict[str, Any]) -> None:
    """Each has every other batch, and the gradient is the mean."""
    model, made = tuned(zero=True), OBJECTIVES.get("npo")
    alone = EVEN.model_copy(update={"accumulate": 2})
    fit(model, FORGET[:4], RETAIN[:4], alone, made(made.Options()))
    own = weights(model)
    assert own.keys() == found["even"].keys()
    for name, value in own.items():
        torch.testing.assert_close(value, found["even"][name], atol=1e-5, rtol=1e-4)
    assert any(value.abs().max() > 1e-3 for name, value in own.items() if "lora_B" in name)


def test_who_asks_for_it() -> None:
    def accelerator(processes: int, kind: str = "MULTI_GPU") -> Any:
        return SimpleNamespace(num_processes=processes, distributed_type=kind)

    assert is_spread(Settings(spread=True), accelerator(2))
    assert is_spread(Settings(), accelerator(2, "FSDP")), "accelerate launch --use_fsdp"
    assert not is_spread(Settings(), accelerator(2))
    assert not is_spread(Settings(spread=True), accelerator(1)), "one process has it all"


class TestWhatReadsWholeWeights:
    @pytest.fixture(autouse=True)
    def spread(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("adapters.loop.is_spread", lambda *args: True)
        monkeypatch.setattr("adapters.loop.spread", lambda model, *args: model)
        monkeypatch.setattr("adapters.trainer.is_spread", lambda *args: True)

    def test_a_mask_is_refused(self) -> None:
        made = OBJECTIVES.get("npo")
        mask = Wagle(WagleOptions(share=0.5))
        with pytest.raises(ModelError, match="--mask: scores whole weights; give none where"):
            fit(tuned(), FORGET, RETAIN, EVEN, made(made.Options()), mask=mask)

    def test_pruning_is_refused(self, tmp_path: Path, tokenizer: Any) -> None:
        base = make_model(tmp_path / "base", tokenizer)
        made = OBJECTIVES.get("ga")
        with pytest.raises(ModelError, match="--prune: reads with the whole model"):
            train(base, ROWS, (), tmp_path / "out", EVEN, made(made.Options()), prune=0.1)
        assert not (tmp_path / "out").exists()


def test_only_a_model_beneath_a_lora_is_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.loop.is_spread", lambda *args: True)
    model, made = tuned(), OBJECTIVES.get("npo")
    with pytest.raises(ModelError, match="spread: is for the model beneath a LoRA alone"):
        fit(model.get_base_model(), FORGET, (), EVEN, made(made.Options()), passes=Passes(model))
