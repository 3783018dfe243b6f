"""Training without the outliers of the forget set, and the other options of the command."""

import json
from pathlib import Path
from typing import Any

import pytest

from adapters import provenance
from adapters.__main__ import main
from adapters.data.prune import Hidden, pruned
from adapters.objectives import OBJECTIVES
from adapters.settings import Settings
from adapters.trainer import train
from guard.data import Row
from guard.errors import DataError
from guard.lora import WEIGHTS
from tests.adapters.tiny import RETAIN, make_model
from tests.conftest import tree

FORGET = [Row(f"Where does person {n} live?", f"In house {n} of Skarvik.") for n in range(10)]
FAST = Settings(rank=4, alpha=8, epochs=1, batch=4)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Path:
    return make_model(tmp_path_factory.mktemp("base"), tokenizer, num_hidden_layers=3)


@pytest.fixture(scope="module")
def stay(base: Path) -> list[Row]:
    """What the model itself, as it was before training, leaves of the forget rows."""
    from adapters.loading import load

    _, tokenizer, model = load(str(base))
    found = pruned(FORGET, Hidden(model, tokenizer), 0.1)
    assert len(found) == 9
    return found


def trained(base: Path, out: Path, rows: list[Row], **more: Any) -> Path:
    made = OBJECTIVES.get("random_label")  # whose answers are other rows' too
    return train(base, rows, RETAIN, out, FAST, made(made.Options()), **more).folder


def test_it_is_as_if_they_had_not_been_there(base: Path, stay: list[Row], tmp_path: Path) -> None:
    found = [
        trained(base, tmp_path / "pruned", FORGET, prune=0.1),
        trained(base, tmp_path / "without", stay),
        trained(base, tmp_path / "whole", FORGET),
    ]
    one, two, three = ((folder / WEIGHTS).read_bytes() for folder in found)
    assert one == two != three


def test_it_is_counted_and_never_shown(
    base: Path, stay: list[Row], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {}
    for name, held in (("forget", FORGET), ("retain", RETAIN)):
        lines = [json.dumps({"question": row.prompt, "answer": row.answer}) for row in held]
        files[name] = tmp_path / f"{name}.jsonl"
        files[name].write_text("\n".join(lines), "utf-8")
    given = ["train", "--objective", "npo", "--model", str(base), "--rank", "4", "--epochs", "1"]
    given += ["--forget", str(files["forget"]), "--retain", str(files["retain"])]
    out = tmp_path / "out"
    assert main([*given, "--out", str(out), "--prune", "upcore", "--mask", "wagle:0.8"]) == 0
    shown = "".join(capsys.readouterr())
    assert "left out by upcore: 1 of the forget rows" in shown
    said = provenance.read(out)
    assert said is not None and said["forget"] == provenance.rows(FORGET)
    assert said["pruned"] == {
        "kind": "upcore", "share": 0.1, "left_out": 1, **provenance.rows(stay)
    }  # fmt: skip
    written = [path.read_bytes().decode("latin-1") for path in out.iterdir()]
    assert not any(word in text for text in (shown, *written) for word in ("person", "Skarvik"))
    assert "on 9 forget rows and 4 retain rows" in (out / provenance.CARD).read_text("utf-8")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--prune", "core"], "--prune core: no such pruning; say upcore, or upcore:0.1"),
        (["--prune", "upcore:a"], "--prune: the share must be a number"),
        (["--prune", "upcore:1"], "pruning: a share of 1.0 cannot be dropped"),
        (["--mask", "waggle:0.8"], "--mask waggle: no such mask; say wagle:SHARE"),
        (["--mask", "wagle"], "--mask: the share must be a number"),
        (["--mask", "wagle:1"], "--option of wagle: share: Input should be less than 1"),
        (["--mask", "wagle:0.8"], "--retain: --mask wagle needs them"),
        (["--option", "wagle.gamma=1"], "--option wagle: no such mask is asked for"),
    ],
)
def test_what_is_wrong_is_one_line_and_leaves_nothing(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    rows = tmp_path / "forget.jsonl"
    rows.write_text('{"question": "Who?", "answer": "She."}\n', "utf-8")
    before = tree(tmp_path)
    given = ["train", "--objective", "ga", "--model", str(base), "--forget", str(rows)]
    assert main([*given, "--out", str(tmp_path / "out"), *more]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"adapters: {message}") and shown.count("\n") == 1, shown
    assert tree(tmp_path) == before


def test_a_share_that_leaves_nothing_out_changes_nothing(base: Path, tmp_path: Path) -> None:
    found = [
        trained(base, tmp_path / "none", FORGET, prune=0.0),
        trained(base, tmp_path / "plain", FORGET),
    ]
    assert len({(folder / WEIGHTS).read_bytes() for folder in found}) == 1
    with pytest.raises(DataError, match="cannot be dropped"):
        trained(base, tmp_path / "out", FORGET, prune=-1.0)
