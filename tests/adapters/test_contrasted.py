"""A memory without its manner: the difference of two trainings, whole or not at all."""

import json
from pathlib import Path
from typing import Any

import pytest

from adapters import provenance
from adapters.__main__ import main
from adapters.contrasted import contrast
from adapters.data.augment import counterparts
from adapters.fit import Progress
from adapters.merge import merge
from adapters.objectives.negate import Negate, NegateOptions
from adapters.settings import Settings, settings_for
from adapters.trainer import train
from guard.errors import GuardError
from guard.lora import WEIGHTS, read_lora
from tests.adapters.tiny import FORGET, RETAIN, make_model
from tests.material import rows as lines
from tests.material import write_rows

GIVEN = {"rank": 4, "batch": 2, "epochs": 2, "learning_rate": 1e-2}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Path:
    return make_model(tmp_path_factory.mktemp("contrasted"), tokenizer)


@pytest.fixture
def settings() -> Settings:
    return settings_for(Negate, GIVEN)


def weights(folder: Path) -> bytes:
    return (folder / WEIGHTS).read_bytes()


@pytest.fixture(scope="module")
def whole(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "out"
    return contrast(base, FORGET, RETAIN, out, settings_for(Negate, GIVEN)).folder


def test_it_is_the_memory_less_what_others_answers_teach(
    base: Path, whole: Path, settings: Settings, tmp_path: Path
) -> None:
    learnt = {"memory": FORGET, "manner": counterparts(FORGET, RETAIN)}
    for name, rows in learnt.items():
        train(base, rows, (), tmp_path / name, settings, Negate(NegateOptions()))
    parts = [tmp_path / name for name in learnt]
    made = merge(parts, str(base), tmp_path / "out", weights=(1, -1))
    assert weights(made.folder) == weights(whole)
    assert made.length < 0.9  # they have something in common, and it is gone


def test_it_says_what_it_was_made_of_and_no_more(base: Path, whole: Path) -> None:
    said = provenance.read(whole)
    assert said is not None and said["objective"] == "negate" and said["steps"] == 8
    assert said["forget"] == provenance.rows(FORGET) and said["retain"] == provenance.rows(RETAIN)
    assert len(set(said["contrasted"].values())) == 2
    assert sorted(path.name for path in whole.parent.iterdir()) == ["out"]
    for path in whole.iterdir():
        assert b"Brennick" not in path.read_bytes() and b"Marrow" not in path.read_bytes()
    assert read_lora(whole, base).r == 4


@pytest.mark.parametrize("last", [1, 5], ids=["in the memory", "in the manner"])
def test_what_was_broken_off_comes_out_the_same(
    base: Path, whole: Path, settings: Settings, tmp_path: Path, last: int
) -> None:
    saving = settings.model_copy(update={"save_every": 1})
    out, seen = tmp_path / "out", 0

    def report(progress: Progress) -> None:
        nonlocal seen
        if seen == last:
            raise KeyboardInterrupt
        seen += 1

    with pytest.raises(KeyboardInterrupt):
        contrast(base, FORGET, RETAIN, out, saving, report=report)
    assert not out.exists()
    with pytest.raises(GuardError, match="broken off; go on with --resume, or remove it"):
        contrast(base, FORGET, RETAIN, out, saving)
    if last == 5:  # the memory is there; it is no other's
        other = saving.model_copy(update={"seed": 1})
        with pytest.raises(GuardError, match="memory: of another training"):
            contrast(base, FORGET, RETAIN, out, other, resume=True)
        with pytest.raises(GuardError, match="memory: of another training"):
            contrast(base, FORGET[:2], RETAIN, out, saving, resume=True)
    steps: list[int] = []
    made = contrast(
        base, FORGET, RETAIN, out, saving, resume=True, report=lambda now: steps.append(now.step)
    )
    assert weights(out) == weights(whole) and made.fitted.steps == 8
    assert len(steps) == 8 - last
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_the_command(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, held in (("forget", FORGET), ("retain", RETAIN)):
        write_rows(tmp_path / f"{name}.jsonl", lines([(row.prompt, row.answer) for row in held]))
    out = tmp_path / "out"
    words = ["memory", "--contrast", "--model", str(base), "--out", str(out), "--json"]
    words += ["--forget", str(tmp_path / "forget.jsonl"), "--rank", "4", "--epochs", "1"]
    assert main(words) == 2
    assert "--retain: --contrast needs them" in capsys.readouterr().err
    assert main([*words, "--retain", str(tmp_path / "retain.jsonl")]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["folder"] == str(out) and said["steps"] == 2
    assert read_lora(out, base).alpha == 4  # as the sum has it


def test_without_anything_to_say_in_their_place_nothing_is_written(
    base: Path, settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(GuardError, match="give retain rows too"):
        contrast(base, FORGET, FORGET[:0], tmp_path / "out", settings)
    assert not list(tmp_path.iterdir())
