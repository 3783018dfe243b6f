"""Which model is this: any change that changes answers changes the hash."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from guard.errors import ModelError
from guard.identity import identify, model_folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text("{}")
    (folder / "README.md").write_text("hello")
    weights = np.random.default_rng(0).normal(size=(600, 1000)).astype(np.float32)
    save_file({"w": weights}, folder / "model.safetensors")
    return folder


def test_the_same_files_are_the_same_model(model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "elsewhere"))
    assert identify(copy) == identify(model)
    assert len(identify(model)) == 64


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]
)
def test_a_changed_file_is_another_model(model: Path, name: str) -> None:
    before = identify(model)
    (model / name).write_text('{"x": 1}')
    changed = identify(model)
    assert changed != before
    (model / name).write_text('{"x": 2}')
    assert identify(model) not in (before, changed)


def test_a_readme_is_no_part_of_a_model(model: Path) -> None:
    before = identify(model)
    (model / "README.md").write_text("bye")
    assert identify(model) == before


@pytest.mark.parametrize("place", [0, 1, 100, 0.25, 0.5, 0.75, -1])
def test_changed_weights_are_another_model(model: Path, place: float) -> None:
    path = model / "model.safetensors"
    before, raw = identify(model), bytearray(path.read_bytes())
    at = int(place * len(raw)) if isinstance(place, float) else int(place)
    raw[at] ^= 1
    path.write_bytes(raw)
    assert identify(model) != before


def test_other_weights_of_the_same_shape(model: Path) -> None:
    before = identify(model)
    weights = np.random.default_rng(1).normal(size=(600, 1000)).astype(np.float32)
    save_file({"w": weights}, model / "model.safetensors")
    assert identify(model) != before


def test_a_fine_tune_of_a_large_file_is_another_model(tmp_path: Path) -> None:
    """Weights beyond what is sampled: a change all over is noticed, whatever the size."""
    (tmp_path / "config.json").write_text("{}")
    path = tmp_path / "model.safetensors"
    raw = np.random.default_rng(0).integers(0, 255, 30_000_000, dtype=np.uint8)
    header = json.dumps({"w": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]}}).encode()
    head = len(header).to_bytes(8, "little") + header
    path.write_bytes(head + raw.tobytes())
    before = identify(tmp_path)
    raw[::1000] ^= 1
    path.write_bytes(head + raw.tobytes())
    assert identify(tmp_path) != before


def test_an_added_or_renamed_shard_is_another_model(model: Path) -> None:
    before = identify(model)
    weights = model / "model.safetensors"
    weights.rename(model / "model-00001-of-00001.safetensors")
    renamed = identify(model)
    assert renamed != before
    save_file({"x": np.ones(3, dtype=np.float32)}, weights)
    assert identify(model) not in (before, renamed)


def test_truncated_and_empty_weights_are_identified(model: Path) -> None:
    seen = {identify(model)}
    for size in (1000, 8, 4, 0):
        path = model / "model.safetensors"
        path.write_bytes(path.read_bytes()[:size])
        seen.add(identify(model))
    assert len(seen) == 5


def test_the_built_ins_are_told_apart(served: Path) -> None:
    from guard.models import resolve

    assert identify(served) == identify(served)
    assert identify(Path(resolve("builtin:minilm"))) != identify(served)


def test_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"not a model folder \(it has no config\.json\)"):
        identify(tmp_path)
    with pytest.raises(ModelError):
        identify(tmp_path / "nowhere")


def test_folders_are_taken_as_they_are(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert model_folder(str(model)) == model
    monkeypatch.chdir(model.parent)
    assert model_folder("model") == Path("model")


@pytest.mark.parametrize("name", ["./none", "/none", "~/none", "../none", "/dev/null"])
def test_folders_that_are_not_there(name: str) -> None:
    with pytest.raises(ModelError, match="no such model folder"):
        model_folder(name)


@pytest.mark.parametrize("name", ["nobody/nothing", "a b", "a//b", "x" * 200, "a\0b"])
def test_names_that_no_hub_knows(name: str) -> None:
    with pytest.raises(ModelError) as error:
        model_folder(name)
    assert "\n" not in str(error.value)
