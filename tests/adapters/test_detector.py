"""Encoders trained ahead of compiling: what is compiled with them is what would have been."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from adapters.__main__ import main
from guard.bundle import Bundle
from guard.compile import compile_policy
from guard.detectors.tuned import ABOUT, WEIGHTS, read_tuned
from guard.encoder import Encoder
from guard.errors import GuardError, ModelError
from guard.guard import Guard
from tests.conftest import tree
from tests.material import PERSON_NEIGHBOURS, PERSON_ROWS, rows, write_rows
from tests.small import few

FEW = {"classifier": ["--epochs", "1", "--rank", "2"], "ood": ["--epochs", "1", "--rank", "2"]}


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    few(monkeypatch, tmp_path_factory.getbasetemp() / "few")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    write_rows(tmp_path / "forget.jsonl", rows(PERSON_ROWS))
    write_rows(tmp_path / "retain.jsonl", rows(PERSON_NEIGHBOURS))
    return tmp_path


def trained(here: Path, kind: str, *more: str) -> int:
    given = ["detector", kind, "--forget", str(here / "forget.jsonl"), *FEW[kind]]
    if kind == "classifier":
        given += ["--retain", str(here / "retain.jsonl")]
    return main([*given, "--out", str(here / "encoder"), *more])


def compiled(here: Path, name: str, **detect: Any) -> Bundle:
    target = {
        "id": "brennick",
        "forget": "forget.jsonl",
        "retain": "retain.jsonl",
        "detect": {"max_false_positive_rate": 0.05, **detect},
        "intervene": {"kind": "refuse"},
    }
    policy = {"version": 1, "model": "builtin:smollm2", "targets": [target]}
    (here / f"{name}.yaml").write_text(yaml.safe_dump(policy), "utf-8")
    return compile_policy(here / f"{name}.yaml", here / name)


@pytest.mark.parametrize(
    ("kind", "itself"),
    [
        ("classifier", {"tune": True, "epochs": 1, "rank": 2}),
        ("ood", {"train": True, "epochs": 1, "rank": 2}),
    ],
)
def test_what_is_compiled_with_it_is_what_would_have_been_trained(
    here: Path, capsys: pytest.CaptureFixture[str], kind: str, itself: dict[str, Any]
) -> None:
    assert trained(here, kind) == 0
    printed, shown = capsys.readouterr()
    assert printed == f"{here / 'encoder'}\n" and "Brennick" not in shown
    ahead = compiled(here, "ahead", kind=kind, encoder="encoder")
    then = compiled(here, "then", kind=kind, **itself)
    stages = [bundle.manifest.targets[0].stages for bundle in (ahead, then)]
    assert stages[0] == stages[1]
    assert ahead.manifest.shared == then.manifest.shared
    text = " ".join(path.read_text("utf-8") for path in (here / "encoder").glob("*.json"))
    assert "Brennick" not in text and str(here) not in text


def test_the_bundle_needs_the_folder_no_longer(here: Path) -> None:
    trained(here, "classifier")
    bundle = compiled(here, "ahead", kind="classifier", encoder="encoder")
    assert bundle.manifest.shared["classifier"].arrays
    shutil.rmtree(here / "encoder")
    Guard(bundle)


def test_an_encoder_for_something_else_is_refused(here: Path, encode: Encoder) -> None:
    trained(here, "ood")
    folder = here / "encoder"
    assert read_tuned(folder, "ood", encode.folder)

    def refused(kind: str, message: str) -> None:
        with pytest.raises(GuardError, match=message) as error:
            compiled(here, "ahead", kind=kind, encoder="encoder")
        assert "\n" not in str(error.value)

    refused("classifier", f"{ABOUT}: kind: must be classifier; train one for this detector")
    about = json.loads((folder / ABOUT).read_text("utf-8"))
    (folder / ABOUT).write_text(json.dumps({**about, "encoder": "another"}), "utf-8")
    refused("ood", f"{ABOUT}: encoder: is another than the policy's; train one for it")
    (folder / ABOUT).write_text(json.dumps(about), "utf-8")
    (folder / WEIGHTS).write_bytes(b"\0" * 40)
    refused("ood", f"{WEIGHTS}: damaged; train it again")
    (folder / WEIGHTS).unlink()
    refused("ood", f"{WEIGHTS}: cannot be read; train it again")
    shutil.rmtree(folder)
    refused("ood", f"{ABOUT}: cannot be read; give what `python -m adapters detector` made")


def test_numbers_that_are_none_are_refused(here: Path, encode: Encoder) -> None:
    from safetensors.numpy import load_file, save_file

    trained(here, "ood")
    path = here / "encoder" / WEIGHTS
    arrays = load_file(path)
    name = min(arrays)
    save_file({**arrays, name: np.full_like(arrays[name], np.nan)}, path)
    with pytest.raises(ModelError, match="numbers that are not finite"):
        read_tuned(here / "encoder", "ood", encode.folder)


@pytest.mark.parametrize(
    ("kind", "more", "message"),
    [
        ("ood", ["--retain", "x.jsonl"], "ood: takes the --forget rows of one target"),
        ("ood", ["--rank", "0"], "--option of ood: rank: Input should be greater than or equal"),
        ("classifier", ["--contrast", "1"], "--option of classifier: contrast: unknown field"),
        ("classifier", ["--encoder", "./none"], "./none: no such model folder"),
    ],
)
def test_what_is_wrong_is_one_line_and_leaves_nothing(
    here: Path, capsys: pytest.CaptureFixture[str], kind: str, more: list[str], message: str
) -> None:
    before = tree(here)
    assert trained(here, kind, *more) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"adapters: {message}") and shown.count("\n") == 1, shown
    assert tree(here) == before
