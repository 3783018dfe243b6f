"""The mean of adapters, as one that can be served."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import load_file

from adapters.__main__ import main
from adapters.merge import ABOUT, merge
from guard.errors import GuardError
from guard.lora import read_lora
from tests.adapters.tiny import make_model
from tests.loras import PREFIX, write_folder, write_lora

Deltas = dict[str, npt.NDArray[Any]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Path:
    folder = tmp_path_factory.mktemp("merge") / "model"
    make_model(folder, tokenizer)
    return folder


def deltas(folder: Path, served: Path) -> Deltas:
    """What an adapter adds to each module's weight."""
    lora = read_lora(folder, served)
    held = load_file(folder / "adapter_model.safetensors")
    factor = lora.alpha / (lora.r**0.5 if lora.rslora else lora.r)
    found = {}
    for name, down in held.items():
        if ".lora_A." in name:
            up = held[name.replace(".lora_A.", ".lora_B.")].astype(np.float64)
            module = name.removeprefix(PREFIX).removesuffix(".lora_A.weight")
            found[module] = factor * up @ down.astype(np.float64)
    return found


def norm(some: Deltas) -> float:
    return float(np.sqrt(sum((one**2).sum() for one in some.values())))


@pytest.fixture(scope="module")
def three(model: Path) -> list[Path]:
    """Adapters of other ranks, factors, modules and layers."""
    folder = model.parent
    return [
        write_lora(folder / "a", model, r=2, seed=1),
        write_lora(folder / "b", model, r=3, seed=2, use_rslora=True, lora_alpha=3),
        write_lora(folder / "c", model, r=2, seed=3, modules=("q_proj", "up_proj"), layers=(1,)),
    ]


def mean(folders: list[Path], served: Path) -> Deltas:
    some = [deltas(folder, served) for folder in folders]
    names = {name for one in some for name in one}
    return {name: sum(one.get(name, 0.0) for one in some) / len(some) for name in names}


def test_it_is_the_mean_where_the_rank_holds_it(
    model: Path, three: list[Path], tmp_path: Path
) -> None:
    made = merge(three, str(model), tmp_path / "out", rank=7)
    wanted, found = mean(three, model), deltas(made.folder, model)
    assert found.keys() == wanted.keys()
    for name in wanted:
        np.testing.assert_allclose(found[name], wanted[name], atol=1e-6)
    assert made.kept == pytest.approx(1)
    lengths = [norm(deltas(folder, model)) / 3 for folder in three]
    assert made.length == pytest.approx(norm(wanted) / sum(lengths), rel=1e-6)


def test_weights_make_any_sum_of_them(model: Path, three: list[Path], tmp_path: Path) -> None:
    made = merge(three, str(model), tmp_path / "out", weights=[1, -1, 0.5], rank=7)
    some = [deltas(folder, model) for folder in three]
    found = deltas(made.folder, model)
    for name in found:
        a, b, c = (one.get(name, 0.0) for one in some)
        np.testing.assert_allclose(found[name], a - b + 0.5 * c, atol=1e-6)
    lengths = [w * norm(one) for w, one in zip((1, 1, 0.5), some, strict=True)]
    assert made.length == pytest.approx(norm(found) / sum(lengths), rel=1e-5)
    said = json.loads((made.folder / ABOUT).read_text("utf-8"))
    assert list(said["merged"].values()) == [1, -1, 0.5]


def test_a_lower_rank_is_the_best_of_its_rank(
    model: Path, three: list[Path], tmp_path: Path
) -> None:
    """By singular values (Eckart and Young), module by module."""
    made = merge(three, str(model), tmp_path / "out")
    wanted, found = mean(three, model), deltas(made.folder, model)
    assert made.rank == 2  # the first one's
    kept = 0.0
    for name, whole in wanted.items():
        left, values, right = np.linalg.svd(whole)
        best = (left[:, :2] * values[:2]) @ right[:2]
        np.testing.assert_allclose(found[name], best, atol=1e-6)
        kept += float((values[:2] ** 2).sum())
    assert made.kept == pytest.approx(kept / norm(wanted) ** 2)
    assert 0.3 < made.kept < 1
    said = json.loads((made.folder / ABOUT).read_text("utf-8"))
    assert (said["rank"], said["kept"]) == (2, made.kept) and len(set(said["merged"])) == 3


def test_a_module_may_be_smaller_than_the_rank(model: Path, tmp_path: Path) -> None:
    two = [
        write_lora(tmp_path / f"{n}", model, r=20, modules=("k_proj", "q_proj"), seed=n)
        for n in range(2)
    ]
    made = merge(two, str(model), tmp_path / "out")
    wanted, found = mean(two, model), deltas(made.folder, model)
    assert min(min(one.shape) for one in wanted.values()) < 20
    for name, whole in wanted.items():
        if min(whole.shape) < 20:
            np.testing.assert_allclose(found[name], whole, atol=1e-6)
    assert made.rank == 20 and made.kept > 0.9


def test_chance_averages_out(model: Path, tmp_path: Path) -> None:
    """Of the mean of four that have nothing in common, half is left."""
    four = [write_lora(tmp_path / f"{n}", model, seed=n) for n in range(4)]
    assert merge(four, str(model), tmp_path / "out").length == pytest.approx(0.5, abs=0.05)


def test_the_command(
    model: Path, three: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["merge", *map(str, three), "--model", str(model), "--out", str(tmp_path / "out")]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert str(tmp_path / "out") in said and "rank 2; it holds" in said
    assert main(words) == 2
    assert "is there already" in capsys.readouterr().err


def test_what_cannot_be_merged_is_told_and_nothing_is_written(
    model: Path, three: list[Path], tmp_path: Path
) -> None:
    held = load_file(three[0] / "adapter_model.safetensors")
    negated = {n: -one if ".lora_B." in n else one for n, one in held.items()}
    fields = {"r": 2, "target_modules": ["q_proj", "down_proj"]}
    against = write_folder(tmp_path / "against", negated, fields)
    out = tmp_path / "out"
    for given, more, says in (
        ([three[0]], {}, "give two adapters or more"),
        ([three[0], three[0]], {}, "given twice"),
        ([three[0], tmp_path / "none"], {}, "no such folder"),
        ([three[0], against], {}, "cancel each other out"),
        (three, {"rank": 0}, "--rank: give 1 or more"),
        (three, {"weights": [1, 2]}, "--weights: give 3"),
        (three, {"weights": [1, 2, 0]}, "--weights: give numbers other than 0"),
        (three, {"weights": [1, 2, float("nan")]}, "--weights: give numbers other than 0"),
    ):
        with pytest.raises(GuardError, match=says):
            merge(given, str(model), out, **more)
        assert not out.exists() and not list(tmp_path.glob(".out*"))
