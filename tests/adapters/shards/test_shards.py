"""Sharded adapters: a deletion leaves, bit for bit, what training without the shard makes."""

import json
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from adapters.__main__ import main
from adapters.objectives import OBJECTIVES
from adapters.objectives.base import Objective
from adapters.settings import Settings
from adapters.shards.delete import delete_shard
from adapters.shards.make import train_shards
from adapters.shards.manifest import ADAPTER, NAME, Manifest, check, read, stage_folder
from guard.data import Row
from guard.errors import DataError, GuardError, ModelError
from guard.lora import CONFIG, WEIGHTS, read_lora
from tests.adapters.tiny import FORGET, RETAIN, make_model
from tests.conftest import tree
from tests.material import write_rows

SHARDS = {
    "brennick": FORGET[:2],
    "pier": [*FORGET[2:], Row("Who keeps the northern pier?", "Nobody since the storm.")],
    "lantern": [Row("Who wrote The Lantern of Vessmere?", "Corisande Ablett did.")],
}
FAST = Settings(rank=4, alpha=8, epochs=2, learning_rate=1e-2, batch=2)


def npo() -> Objective:
    made = OBJECTIVES.get("npo")
    return made(made.Options())


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Path:
    import torch
    from transformers import AutoModelForCausalLM

    folder = make_model(tmp_path_factory.mktemp("base"), tokenizer, num_hidden_layers=4)
    # Saved in fewer bits than it is trained in: what is trained on top must see what is saved.
    AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).save_pretrained(folder)
    return folder


def made(base: Path, out: Path, names: Sequence[str], **more: Any) -> Manifest:
    shards = {name: SHARDS[name] for name in names}
    return train_shards(base, shards, RETAIN, out, FAST, npo, **{"layers": 1, **more})


@pytest.fixture(scope="module")
def whole(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All three shards in two orders; not to be changed."""
    out = tmp_path_factory.mktemp("whole") / "out"
    made(base, out, [*SHARDS], orders=2)
    return out


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def served(root: Path) -> tuple[bytes, bytes]:
    return (root / ADAPTER / WEIGHTS).read_bytes(), (root / ADAPTER / CONFIG).read_bytes()


def test_what_is_served_is_an_adapter_with_all_shards(base: Path, whole: Path) -> None:
    assert read_lora(whole / ADAPTER, base).r == 4
    assert stat.S_IMODE(whole.stat().st_mode) == 0o700
    manifest = read(whole)
    check(whole, manifest)
    assert manifest.taught == [*SHARDS]
    assert [[stage.shard for stage in order] for order in manifest.orders] == [
        ["brennick", "pier", "lantern"],
        ["pier", "lantern", "brennick"],
    ]


def test_each_shard_has_layers_of_its_own_and_leaves_the_others(whole: Path) -> None:
    """Isolation: taking the layers of later stages off is what the earlier stage has made."""
    stages = [load_file(stage_folder(whole, 0, at) / WEIGHTS) for at in range(3)]
    for at, layer in enumerate((3, 2, 1)):
        new = {name for name in stages[at] if at == 0 or name not in stages[at - 1]}
        assert new and all(f".layers.{layer}." in name for name in new)
        for later in stages[at + 1 :]:
            assert all(later[name].equal(stages[at][name]) for name in stages[at])


@pytest.mark.parametrize(
    ("gone", "left"),
    [("lantern", ["brennick", "pier"]), ("pier", ["brennick"]), ("brennick", ["pier", "lantern"])],
)
def test_a_deletion_is_training_without_it(
    base: Path, copy: Path, tmp_path: Path, gone: str, left: list[str]
) -> None:
    """The first order loses `brennick` whole; the second has the other two before it."""
    after = delete_shard(copy, gone)
    assert after.taught == left and gone not in {shard.name for shard in after.shards}
    check(copy, read(copy))
    made(base, tmp_path / "never", left)
    assert served(copy) == served(tmp_path / "never")


def test_nothing_of_a_deleted_shard_is_left_on_the_disk(whole: Path, copy: Path) -> None:
    hashes = {shard.name: shard.sha256 for shard in read(whole).shards}
    trained = {
        stage.sha256
        for order in read(whole).orders
        for at, stage in enumerate(order)
        if "pier" in [one.shard for one in order[: at + 1]]
    }
    delete_shard(copy, "pier")
    text = "".join(path.read_text("utf-8") for path in copy.rglob("*.json"))
    assert hashes["pier"] not in text and not any(sha256 in text for sha256 in trained)
    assert len(list(copy.rglob(WEIGHTS))) == 2  # the first stage, and its copy that is served
    assert [one["name"] for one in json.loads((copy / NAME).read_bytes())["deleted"]] == ["pier"]


def test_one_deletion_after_another(copy: Path) -> None:
    delete_shard(copy, "lantern")
    delete_shard(copy, "pier")
    assert read(copy).taught == ["brennick"]
    after = delete_shard(copy, "brennick")
    assert after.serves is None and not (copy / ADAPTER).exists() and not list(copy.rglob(WEIGHTS))


@pytest.mark.parametrize("broken", ["shutil.copytree", "adapters.shards.delete.write"])
def test_a_deletion_that_was_broken_off_is_finished_by_the_next(
    base: Path, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(broken, full)
        with pytest.raises((ModelError, OSError)):
            delete_shard(copy, "pier")
    assert delete_shard(copy, "pier").taught == ["brennick"]
    made(base, tmp_path / "never", ["brennick"])
    assert served(copy) == served(tmp_path / "never")


def test_what_has_changed_is_not_served(copy: Path) -> None:
    path = stage_folder(copy, 0, 0) / WEIGHTS
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    before = tree(copy)
    with pytest.raises(ModelError, match="has changed since it was trained"):
        delete_shard(copy, "lantern")
    assert {name: held for name, held in tree(copy).items() if ".lock" not in str(name)} == before
    delete_shard(copy, "brennick")  # which takes the changed one away


def test_a_training_that_was_broken_off_goes_on_to_the_same_bytes(
    base: Path, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"

    def stop(order: int, stage: int) -> Any:
        if (order, stage) == (0, 2):
            raise KeyboardInterrupt
        return lambda progress: None

    with pytest.raises(KeyboardInterrupt):
        made(base, out, [*SHARDS], orders=2, report=stop)
    assert not out.exists()
    with pytest.raises(ModelError, match="a training that was broken off; go on with --resume"):
        made(base, out, [*SHARDS], orders=2)
    with pytest.raises(ModelError, match="was begun with another orders, shards"):
        made(base, out, ["pier", "lantern"], resume=True)
    made(base, out, [*SHARDS], orders=2, resume=True)
    assert served(out) == served(whole) and not out.with_name("out.partial").exists()


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ({"layers": 2}, DataError, "layers: 3 shards need 6, and .* has 4"),
        ({"orders": 4}, DataError, "orders: 4: 3 shards have 1 to 3 rotations"),
    ],
)
def test_what_does_not_do_leaves_nothing(
    base: Path, tmp_path: Path, more: dict[str, Any], error: type[GuardError], message: str
) -> None:
    with pytest.raises(error, match=message):
        made(base, tmp_path / "out", [*SHARDS], **more)
    assert not tree(tmp_path)


def test_a_first_stage_that_fails_leaves_nothing(base: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing to learn from"):
        nobody = {"nobody": [Row("Nobody", is_name=True)]}
        train_shards(base, nobody, RETAIN, tmp_path / "out", FAST, npo)
    assert not tree(tmp_path)


def test_the_command_trains_lists_and_deletes(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = []
    for name, held in (*SHARDS.items(), ("retain", RETAIN)):
        values = [{"question": row.prompt, "answer": row.answer} for row in held]
        path = write_rows(tmp_path / f"{name}.jsonl", values)
        given += ["--retain", str(path)] if name == "retain" else ["--shard", f"{name}={path}"]
    out = str(tmp_path / "out")
    given += ["--objective", "npo", "--model", str(base), "--rank", "4", "--epochs", "1"]
    assert main(["shards", "train", *given, "--out", out]) == 0
    printed, shown = capsys.readouterr()
    assert printed.splitlines()[0] == "brennick  2 rows  served" and printed.endswith("/adapter\n")
    assert "stage 3 of 3" in shown and "glazier" not in printed + shown
    assert main(["shards", "delete", out, "pier"]) == 0
    assert "lantern  1 rows  to be trained anew" in capsys.readouterr().out
    assert main(["shards", "list", out]) == 0
    assert main(["shards", "delete", out, "lantren"]) == 2
    line = capsys.readouterr().err
    assert line.endswith("no shard 'lantren' (did you mean 'lantern'?)\n"), line
    assert main(["shards", "train", *given, "--shard", "pier=x", "--out", f"{out}2"]) == 2
    assert "--shard pier: is given twice" in capsys.readouterr().err
