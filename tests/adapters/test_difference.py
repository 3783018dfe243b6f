"""What a model has learned since its base model, as a LoRA."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load, load_file, save_file

from adapters.difference import difference
from guard.errors import ModelError
from guard.lora import Lora
from tests.adapters.tiny import make_model, make_tuned
from tests.loras import write_lora

RANK = 3
Tensors = dict[str, Any]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Path:
    return make_model(tmp_path_factory.mktemp("difference") / "base", tokenizer)


def changed(base: Path, folder: Path, change: Callable[[Tensors], None]) -> Path:
    """A copy of a model whose tensors were changed."""
    shutil.copytree(base, folder)
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, {"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def tuned(base: Path) -> Path:
    """A LoRA of rank `RANK`, merged."""
    adapter = write_lora(base.parent / "adapter", base, r=RANK, seed=1)
    return make_tuned(base, adapter, base.parent / "tuned")


def deltas(lora: Lora) -> Tensors:
    held = load(lora.weights)
    return {
        name.removeprefix("base_model.model.").replace(".lora_A", ""): (
            held[name.replace(".lora_A.", ".lora_B.")] @ down * (lora.alpha / lora.r)
        )
        for name, down in held.items()
        if ".lora_A." in name
    }


def test_a_lora_that_was_merged_is_found_again(base: Path, tuned: Path) -> None:
    found = difference(tuned, base, RANK)
    one, other = (load_file(folder / "model.safetensors") for folder in (tuned, base))
    held = deltas(found.lora)
    wanted = {name: one[name] - other[name] for name in one if (one[name] != other[name]).any()}
    assert held.keys() == wanted.keys() and len(held) == 4
    for name, delta in wanted.items():
        np.testing.assert_allclose(held[name], delta, atol=1e-5)
    assert found.kept == pytest.approx(1) and found.outside == 0
    assert difference(tuned, base, RANK).lora.weights == found.lora.weights


def test_what_the_rank_cannot_hold_is_said(base: Path, tuned: Path) -> None:
    found = difference(tuned, base, 1)
    one, other = (load_file(folder / "model.safetensors") for folder in (tuned, base))
    held = deltas(found.lora)
    left = sum(float((one[name] - other[name] - held[name]).square().sum()) for name in held)
    whole = sum(float((one[name] - other[name]).square().sum()) for name in held)
    assert 0.3 < found.kept < 0.95
    assert found.kept == pytest.approx(1 - left / whole, abs=1e-4)


def test_more_than_a_module_has_is_padded(base: Path, tuned: Path) -> None:
    found = difference(tuned, base, 40)  # k_proj is 16 wide
    shapes = {tensor.shape for name, tensor in load(found.lora.weights).items() if "lora_A" in name}
    assert {shape[0] for shape in shapes} == {40} and found.kept == pytest.approx(1)


def test_what_no_lora_holds_is_said(base: Path, tmp_path: Path) -> None:
    def change(tensors: Tensors) -> None:
        tensors["model.norm.weight"][0] += 3
        tensors["model.layers.0.input_layernorm.weight"][0] += 4
        tensors["model.layers.0.mlp.up_proj.weight"][0, 0] += 5

    found = difference(changed(base, tmp_path / "tuned", change), base, RANK)
    assert found.outside == pytest.approx(0.5) and found.lora.modules == ("up_proj",)


def test_a_head_that_only_one_saved_is_the_embeddings(base: Path, tmp_path: Path) -> None:
    def change(tensors: Tensors) -> None:
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
        tensors["model.layers.1.self_attn.q_proj.weight"] += 1

    found = difference(changed(base, tmp_path / "tuned", change), base, RANK)
    assert found.outside == 0 and found.lora.modules == ("q_proj",)


def narrower(tensors: Tensors) -> None:
    name = "model.layers.0.mlp.up_proj.weight"
    tensors[name] = tensors[name][1:].clone()


def packed(tensors: Tensors) -> None:
    name = "model.layers.0.mlp.up_proj.weight"
    tensors[name] = tensors[name].char()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensors: None, "its linear layers are those of .*base"),
        (narrower, r"up_proj.weight: is \(63, 32\), in .*base \(64, 32\)"),
        (packed, "up_proj.weight: is quantised"),
        (lambda tensors: tensors.pop("model.norm.weight"), "tuned: has no model.norm.weight"),
    ],
    ids=["the same", "another shape", "quantised", "a tensor less"],
)
def test_models_that_do_not_belong_together(
    base: Path, tmp_path: Path, change: Callable[[Tensors], None], said: str
) -> None:
    with pytest.raises(ModelError, match=said):
        difference(changed(base, tmp_path / "tuned", change), base, RANK)


def test_weights_that_are_not_there(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has no safetensors weights"):
        difference(tmp_path, base, RANK)
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelError, match="damaged weights"):
        difference(tmp_path, base, RANK)
