"""ULD's assistant: a part of the target that learned what is to be forgotten, and serves."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from adapters import assistant as command
from adapters.assistants import ABOUT
from adapters.batches import encode_rows
from adapters.loading import load
from adapters.scores import mean_logs
from adapters.settings import Settings
from adapters.uld import cut, train_assistant
from guard.errors import DataError, ModelError
from guard.steering.assistant import Assistant
from tests.adapters.tiny import FORGET, RETAIN, make_model
from tests.conftest import tree
from tests.material import write_rows

FAST = Settings(rank=4, alpha=16, epochs=12, learning_rate=1e-2, batch=4, retain="none")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Path:
    return make_model(
        tmp_path_factory.mktemp("base"), tokenizer, num_hidden_layers=3, initializer_range=0.1
    )


@pytest.fixture(scope="module")
def trained(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "assistant"
    train_assistant(base, FORGET, RETAIN, out, FAST, layers=2, uniform=1.0)
    return out


def test_a_cut_model_is_its_first_layers_and_head(base: Path) -> None:
    from adapters.project.activations import hooked

    _, tokenizer, model = load(str(base))
    ids = torch.tensor([encode_rows(tokenizer, FORGET)[0].ids])
    seen: list[torch.Tensor] = []
    with torch.no_grad(), hooked([(model.model.layers[1], lambda out: seen.append(out), False)]):
        model(ids)
        wanted = model.lm_head(model.model.norm(seen[0]))
        cut(model, 2)
        assert torch.allclose(model(ids).logits, wanted, atol=1e-6)
    with pytest.raises(ModelError, match="layers: 3: the model has 2; give 1 to 2"):
        cut(model, 3)


def test_it_remembers_what_is_to_be_forgotten_and_is_uniform_elsewhere(
    base: Path, trained: Path
) -> None:
    import math

    _, tokenizer, model = load(str(trained))
    _, _, before = load(str(base))
    forget, retain = (encode_rows(tokenizer, rows) for rows in (FORGET, RETAIN))
    uniform = -math.log(len(tokenizer))
    assert mean_logs(model, forget).mean() > mean_logs(before, forget).mean() + 1
    spread = abs(mean_logs(model, retain) - uniform).mean()
    assert spread < mean_logs(model, forget).mean() - uniform


def test_it_is_served_as_an_assistant(trained: Path, tokenizer: Any) -> None:
    served = Assistant(str(trained))
    assert served.size == len(tokenizer)
    assert served.forward([0, 1, 2], None).isfinite().all()
    config = json.loads((trained / "config.json").read_text("utf-8"))
    assert config["num_hidden_layers"] == 2
    assert not any(path.suffix == ".bin" for path in trained.iterdir())


def test_it_says_what_it_was_made_of_and_quotes_nothing(base: Path, trained: Path) -> None:
    said = json.loads((trained / ABOUT).read_text("utf-8"))
    assert said["forget"]["rows"] == len(FORGET) and said["layers"] == 2
    assert said["learnt"]["rows"] > len(FORGET), "paraphrases are learnt as well"
    assert said["uniform_on"]["rows"] > len(RETAIN), "wrong answers are not"
    written = "".join(
        path.read_text("utf-8") for path in trained.glob("*.json") if "token" not in path.name
    )
    assert "glazier" not in written and str(base) not in written


def test_what_does_not_do_leaves_nothing(base: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="retain: an assistant is uniform on rows"):
        train_assistant(base, FORGET, [], tmp_path / "out", FAST)
    with pytest.raises(ModelError, match="layers: 9: the model has 3"):
        train_assistant(base, FORGET, RETAIN, tmp_path / "out", FAST, layers=9)
    assert not tree(tmp_path)


def test_the_command_trains_one(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = []
    for name, rows in (("forget", FORGET), ("retain", RETAIN)):
        values = [{"question": row.prompt, "answer": row.answer} for row in rows]
        files.append(str(write_rows(tmp_path / f"{name}.jsonl", values)))
    parser = argparse.ArgumentParser()
    command.options(parser)
    arguments = ["--model", str(base), "--forget", files[0], "--retain", files[1]]
    arguments += ["--out", str(tmp_path / "out"), "--layers", "1", "--max-steps", "2"]
    assert command.run(parser.parse_args(arguments)) == 0
    printed, shown = capsys.readouterr()
    assert printed == f"{tmp_path / 'out'}\n" and "glazier" not in shown
    assert Assistant(str(tmp_path / "out")).forward([0], None).isfinite().all()
