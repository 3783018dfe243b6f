"""A PEFT folder: what is read of it, and all that is refused, in one line with file and field."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import deserialize
from safetensors.numpy import load

from guard.errors import ModelError
from guard.lora import CONFIG, WEIGHTS, read_lora
from tests.loras import PREFIX, lora_tensors, write_folder, write_lora

Q = f"{PREFIX}model.layers.0.self_attn.q_proj"


def test_a_folder_is_read(tmp_path: Path, served: Path) -> None:
    folder = write_lora(tmp_path / "a", served, r=4, lora_alpha=6, use_rslora=True)
    lora = read_lora(folder, served)
    assert (lora.r, lora.alpha, lora.rslora) == (4, 6.0, True)
    assert lora.modules == ("down_proj", "q_proj")
    held, written = load(lora.weights), lora_tensors(served)
    assert held.keys() == written.keys()
    assert all(np.array_equal(held[name], array) for name, array in written.items())


def test_what_else_a_weights_file_says_is_left_out(tmp_path: Path, served: Path) -> None:
    folder = write_lora(tmp_path / "a", served)
    assert b"by hand" in (folder / WEIGHTS).read_bytes()
    lora = read_lora(folder, served)
    assert b"by hand" not in lora.weights
    assert len(deserialize(lora.weights)) == 8


def test_half_precision_stays_as_it_is(tmp_path: Path, served: Path) -> None:
    for dtype in ("float16", "bfloat16"):
        folder = write_folder(tmp_path / dtype, lora_tensors(served), {"r": 4}, dtype)
        written = dict(deserialize((folder / WEIGHTS).read_bytes()))
        assert dict(deserialize(read_lora(folder, served).weights)) == written


def test_what_peft_itself_writes_is_read(tmp_path: Path, served: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(served, dtype="auto")
    config = LoraConfig(
        r=2, target_modules=["v_proj"], init_lora_weights=False, layers_to_transform=[0, 3]
    )
    get_peft_model(model, config).save_pretrained(tmp_path / "a")
    lora = read_lora(tmp_path / "a", served)
    assert (lora.r, lora.alpha, lora.modules) == (2, 8.0, ("v_proj",))


def test_a_scale_multiplies_alpha(tmp_path: Path, served: Path) -> None:
    lora = read_lora(write_lora(tmp_path / "a", served, lora_alpha=64), served)
    for scale in (1.0, -0.85, 0.125):
        fields = json.loads(lora.config(scale))
        assert fields["lora_alpha"] == 64 * scale
        assert (fields["peft_type"], fields["r"], fields["use_rslora"]) == ("LORA", 4, False)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"peft_type": "PROMPT_TUNING"}, "peft_type: must be LORA"),
        ({"peft_type": None}, "peft_type: must be LORA"),
        ({"use_dora": True}, "use_dora: cannot be served"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save: cannot be served"),
        ({"bias": "all"}, "bias: must be none"),
        ({"lora_bias": True}, "lora_bias: cannot be served"),
        ({"init_lora_weights": "pissa_niter_16"}, "init_lora_weights: this start changes"),
        ({"rank_pattern": {"q_proj": 8}}, "rank_pattern: cannot be served"),
        ({"alpha_pattern": {"q_proj": 8}}, "alpha_pattern: cannot be served"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out: cannot be served"),
        ({"target_parameters": ["experts.w1"]}, "target_parameters: cannot be served"),
        ({"invented_next_year": {"on": 1}}, "invented_next_year: cannot be served"),
        ({"r": 0}, "r: must be a whole number"),
        ({"r": True}, "r: must be a whole number"),
        ({"r": "4"}, "r: must be a whole number"),
        ({"r": 8}, "is of rank 4 and 4, adapter_config.json says r 8"),
        ({"lora_alpha": None}, "lora_alpha: must be a number"),
        ({"lora_alpha": float("nan")}, "lora_alpha: must be a number"),
        ({"lora_alpha": 0}, "lora_alpha: is 0"),
    ],
)
def test_what_is_not_plain_lora_is_refused(
    tmp_path: Path, served: Path, fields: dict[str, Any], message: str
) -> None:
    folder = write_lora(tmp_path / "a", served)
    path = folder / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | fields), "utf-8")
    said = refusal(folder, served)
    assert message in said and str(folder) in said


def test_fields_of_training_are_no_matter(tmp_path: Path, served: Path) -> None:
    said: dict[str, Any] = {
        "init_lora_weights": "gaussian",
        "lora_dropout": 0.1,
        "peft_version": "0.1",
    }
    write_lora(tmp_path / "a", served, **said, use_dora=False, modules_to_save=None)
    assert read_lora(tmp_path / "a", served).r == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({f"{Q}.lora_A.weight": (4, 575)}, "is made for 576 x 575"),
        ({f"{Q}.lora_B.weight": (577, 4)}, "is made for 577 x 576"),
        ({f"{Q}.lora_B.weight": (576, 3)}, "is of rank 4 and 3"),
        ({f"{Q}.lora_B.weight": None}, "has only lora_A"),
        ({f"{PREFIX}model.layers.99.mlp.up_proj.lora_A.weight": (4, 4)}, "has only lora_A"),
        ({f"{PREFIX}model.embed_tokens.lora_embedding_A": (4, 9)}, "no LoRA of a linear layer"),
        ({f"{PREFIX}score.weight": (2, 9)}, "no LoRA of a linear layer"),
        ({f"{Q}.lora_A.weight": (4, 576, 1)}, "no LoRA of a linear layer"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(
    tmp_path: Path, served: Path, change: dict[str, tuple[int, ...] | None], message: str
) -> None:
    tensors = lora_tensors(served)
    for name, shape in change.items():
        tensors.pop(name, None)
        if shape is not None:
            tensors[name] = np.ones(shape, np.float32)
    said = refusal(write_folder(tmp_path / "a", tensors, {"r": 4}), served)
    assert message in said and WEIGHTS in said


def test_a_module_that_the_model_lacks_is_refused(tmp_path: Path, served: Path) -> None:
    other = {
        name.replace("layers.0", "layers.77"): array for name, array in lora_tensors(served).items()
    }
    said = refusal(write_folder(tmp_path / "a", other, {"r": 4}), served)
    assert "layers.77" in said and "has no such module" in said


def test_another_path_to_the_same_layers_is_found(tmp_path: Path, served: Path) -> None:
    """As in checkpoints of several parts, whose language model stands one level deeper."""
    other = {
        name.replace("model.model.", "model.model.language_model."): array
        for name, array in lora_tensors(served).items()
    }
    assert read_lora(write_folder(tmp_path / "a", other, {"r": 4}), served).r == 4


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_numbers_that_are_none_are_refused(
    tmp_path: Path, served: Path, value: float, dtype: str
) -> None:
    tensors = lora_tensors(served)
    tensors[f"{Q}.lora_A.weight"][1, 7] = value
    folder = write_folder(tmp_path / "a", tensors, {"r": 4}, dtype)
    assert "holds numbers that are not finite" in refusal(folder, served)


def test_other_types_of_number_are_refused(tmp_path: Path, served: Path) -> None:
    folder = write_folder(tmp_path / "a", lora_tensors(served), {"r": 4}, "int8")
    said = refusal(folder, served)
    assert "is I8; save it as BF16, F16 or F32" in said


def test_an_adapter_that_was_never_trained_is_refused(tmp_path: Path, served: Path) -> None:
    """PEFT starts with B at zero: it would let a flagged request pass as it is."""
    tensors = lora_tensors(served)
    for name, array in tensors.items():
        if "lora_B" in name:
            array[:] = 0
    assert "every lora_B is zero" in refusal(
        write_folder(tmp_path / "a", tensors, {"r": 4}), served
    )


def test_pickled_weights_are_never_opened(tmp_path: Path, served: Path) -> None:
    folder = write_lora(tmp_path / "a", served)
    (folder / WEIGHTS).rename(folder / "adapter_model.bin")
    assert "its weights are pickled" in refusal(folder, served)
    (folder / "adapter_model.bin").unlink()
    assert "missing; save the adapter with safetensors" in refusal(folder, served)


@pytest.mark.parametrize("cut", [0, 4, 100, -1])
def test_damaged_weights_are_refused(tmp_path: Path, served: Path, cut: int) -> None:
    path = write_lora(tmp_path / "a", served) / WEIGHTS
    path.write_bytes(path.read_bytes()[:cut])
    assert "damaged, or not safetensors" in refusal(path.parent, served)


def test_what_is_not_there_is_named(tmp_path: Path, served: Path) -> None:
    assert f"{tmp_path / 'none'}: no such folder" in refusal(tmp_path / "none", served)
    assert f"{tmp_path / CONFIG}: cannot be read" in refusal(tmp_path, served)
    (tmp_path / CONFIG).write_text("{", "utf-8")
    assert f"{tmp_path / CONFIG}: not JSON" in refusal(tmp_path, served)
    (tmp_path / CONFIG).write_text("[]", "utf-8")
    assert "not a JSON object" in refusal(tmp_path, served)


def test_a_model_without_safetensors_is_refused(tmp_path: Path, served: Path) -> None:
    folder = write_lora(tmp_path / "a", served)
    (tmp_path / "model").mkdir()
    assert "has no safetensors weights" in refusal(folder, tmp_path / "model")


def test_a_quantised_model_is_held_against_its_names(tmp_path: Path, served: Path) -> None:
    """Its weights are packed: their shapes say nothing, their names do."""
    from safetensors.numpy import save_file

    folder = write_lora(tmp_path / "a", served, modules=("q_proj",), layers=(0,))
    (tmp_path / "model").mkdir()
    packed = {"model.layers.0.self_attn.q_proj.qweight": np.ones((72, 576), np.int32)}
    save_file(packed, tmp_path / "model" / "model.safetensors")
    assert read_lora(folder, tmp_path / "model").modules == ("q_proj",)
    save_file({"model.layers.1.x.qweight": np.ones(1)}, tmp_path / "model" / "model.safetensors")
    assert "has no such module" in refusal(folder, tmp_path / "model")


def refusal(folder: Path, served: Path) -> str:
    with pytest.raises(ModelError) as error:
        read_lora(folder, served)
    assert "\n" not in str(error.value)
    return str(error.value)
