"""Rows of the embedding table are what the model itself looks up."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from guard.embeddings import EmbeddingRows
from guard.errors import ModelError

VOCABULARY, WIDTH = 96, 16


def small(model_type: str) -> Any:
    """The configuration of a tiny model of a family."""
    from transformers import AutoConfig

    common = {
        "vocab_size": VOCABULARY,
        "hidden_size": WIDTH,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "max_position_embeddings": 128,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    own = {
        "gpt2": {"n_embd": WIDTH, "n_layer": 1, "n_head": 2, "n_positions": 128},
        "opt": {"word_embed_proj_dim": WIDTH, "ffn_dim": 32},
        "bloom": {"n_layer": 1, "n_head": 2},
    }
    return AutoConfig.for_model(model_type, **{**common, **own.get(model_type, {})})


Make = Callable[..., tuple[Path, Any]]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Saves a tiny random model and returns its folder and itself."""

    def save(model_type: str, dtype: str = "float32", **options: Any) -> tuple[Path, Any]:
        import torch
        from transformers import AutoModelForCausalLM

        torch.manual_seed(0)
        tied = options.pop("tied", None)
        config = small(model_type)
        if tied is not None:
            config.tie_word_embeddings = tied
        model = AutoModelForCausalLM.from_config(config).to(getattr(torch, dtype))
        torch.nn.init.normal_(model.get_input_embeddings().weight)  # none is a row of zeros
        folder = tmp_path / model_type
        model.save_pretrained(folder, **options)
        return folder, model

    return save


def looked_up(model: Any, ids: list[int]) -> Any:
    import torch

    with torch.no_grad():
        return model.get_input_embeddings()(torch.tensor(ids)).float().numpy()


IDS = [0, 1, 5, 95, 5, 50]


@pytest.mark.parametrize(
    "model_type",
    ["gpt2", "qwen2", "llama", "opt", "gpt_neox", "bloom", "gemma", "gemma2", "gemma3_text"],
)
def test_rows_are_what_the_model_looks_up(make: Make, model_type: str) -> None:
    folder, model = make(model_type)
    rows = EmbeddingRows(folder)
    expected = looked_up(model, IDS)
    found = rows.embed(IDS)
    assert found.dtype == np.float32 and found.shape == (len(IDS), WIDTH)
    assert np.allclose(found, expected, rtol=1e-6)
    assert (rows.rows, rows.dimensions) == (VOCABULARY, WIDTH)


def test_gemma_carries_its_scale(make: Make) -> None:
    folder, model = make("gemma3_text")
    raw = model.get_input_embeddings().weight.detach().numpy()[IDS]
    assert np.allclose(EmbeddingRows(folder).embed(IDS), raw * 4.0)  # the root of 16


def test_what_is_scaled_behind_the_look_up_is_not_scaled_here(make: Make) -> None:
    folder, model = make("granite")
    assert np.allclose(EmbeddingRows(folder).embed(IDS), looked_up(model, IDS))


@pytest.mark.parametrize("model_type", ["gemma3n_text", "gemma4_text"])
def test_models_that_read_tokens_in_every_layer_are_refused(make: Make, model_type: str) -> None:
    folder, _ = make("qwen2")
    change(folder, model_type=model_type)
    with pytest.raises(ModelError, match="reads its tokens again in every layer"):
        EmbeddingRows(folder)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_small_types_of_number(make: Make, dtype: str) -> None:
    folder, model = make("qwen2", dtype)
    assert np.array_equal(EmbeddingRows(folder).embed(IDS), looked_up(model, IDS))


@pytest.mark.parametrize("tied", [True, False])
def test_tied_and_untied(make: Make, tied: bool) -> None:
    folder, model = make("qwen2", tied=tied)
    with safe_open(folder / "model.safetensors", framework="np") as file:
        assert ("lm_head.weight" in file.keys()) is not tied  # noqa: SIM118
    assert np.allclose(EmbeddingRows(folder).embed(IDS), looked_up(model, IDS))


def test_shards(make: Make) -> None:
    folder, model = make("qwen2", max_shard_size="5KB", tied=False)
    assert len(list(folder.glob("*.safetensors"))) > 1
    assert np.allclose(EmbeddingRows(folder).embed(IDS), looked_up(model, IDS))


def test_the_built_in_model(served: Path) -> None:
    """Against the tensor as it lies in the file."""
    with safe_open(served / "model.safetensors", framework="pt") as file:
        table = file.get_tensor("model.embed_tokens.weight").float().numpy()
    ids = [0, 1, 2, 17, 49_151, *range(1000, 1100)]
    rows = EmbeddingRows(served)
    assert np.array_equal(rows.embed(ids), table[ids])
    assert np.array_equal(rows.embed(ids), table[ids])  # and again, out of its memory
    assert rows.embed([]).shape == (0, table.shape[1])
    assert rows.scale == 1.0


@pytest.mark.parametrize("token", [-1, VOCABULARY, 1 << 31])
def test_a_token_out_of_range(make: Make, token: int) -> None:
    folder, _ = make("qwen2")
    with pytest.raises(ModelError, match=f"token {token} is outside the embedding table of 96"):
        EmbeddingRows(folder).embed([3, token])


def change(folder: Path, **fields: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_a_multimodal_config_keeps_the_text_model_beneath(make: Make) -> None:
    folder, model = make("qwen2")
    config = json.loads((folder / "config.json").read_text())
    outer = {"model_type": "some_vl", "hidden_size": 999, "text_config": config}
    (folder / "config.json").write_text(json.dumps(outer))
    assert np.allclose(EmbeddingRows(folder).embed(IDS), looked_up(model, IDS))


def test_padded_tables_are_read(make: Make) -> None:
    folder, model = make("qwen2")
    change(folder, vocab_size=90)
    assert EmbeddingRows(folder).rows == VOCABULARY
    assert np.allclose(EmbeddingRows(folder).embed([95]), looked_up(model, [95]))


# What cannot be read.


def refusal(folder: Path) -> str:
    with pytest.raises(ModelError) as error:
        EmbeddingRows(folder)
    assert "\n" not in str(error.value) and str(folder) in str(error.value)
    return str(error.value)


def test_no_weights(make: Make) -> None:
    folder, _ = make("qwen2")
    (folder / "model.safetensors").unlink()
    assert "has no safetensors weights" in refusal(folder)
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04N.")  # a pickle is not touched
    assert "save the model with safetensors" in refusal(folder)


def test_another_width(make: Make) -> None:
    folder, _ = make("qwen2")
    change(folder, hidden_size=WIDTH + 1)
    assert f"no tensor [{VOCABULARY}, {WIDTH + 1}]" in refusal(folder)


def test_a_table_that_is_too_short(make: Make) -> None:
    folder, _ = make("qwen2")
    change(folder, vocab_size=2 * VOCABULARY)
    assert "no tensor" in refusal(folder)


@pytest.mark.parametrize("raw", ["", "hello", "[]", "null", "7", "{}", '{"vocab_size": 9}'])
def test_no_configuration(make: Make, raw: str) -> None:
    folder, _ = make("qwen2")
    (folder / "config.json").write_text(raw)
    assert "config.json" in refusal(folder)


def test_a_missing_configuration(tmp_path: Path) -> None:
    assert "config.json: missing" in refusal(tmp_path)


@pytest.mark.parametrize("size", [0, 4, 100, 5000])
def test_damaged_weights(make: Make, size: int) -> None:
    folder, _ = make("qwen2")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:size])
    assert "model.safetensors" in refusal(folder)


def test_a_copy_is_as_good(served: Path, tmp_path: Path) -> None:
    """A link to the weights is followed, as in the Hugging Face cache."""
    shutil.copy(served / "config.json", tmp_path)
    (tmp_path / "model.safetensors").symlink_to(served / "model.safetensors")
    assert np.array_equal(EmbeddingRows(tmp_path).embed([7]), EmbeddingRows(served).embed([7]))
