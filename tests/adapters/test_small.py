"""CMC's small model: trained beside the frozen one, and served as it was trained."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from adapters.__main__ import main
from adapters.assistants import ABOUT
from adapters.batches import encode_rows, pad
from adapters.beside import Beside, cover
from adapters.loading import load
from adapters.objectives import OBJECTIVES
from adapters.objectives.base import Objective
from adapters.settings import Settings
from adapters.small import train_small
from guard.data import Row
from guard.errors import DataError, ModelError
from guard.steering.assistant import Assistant
from guard.steering.offset import Offset
from tests.adapters.tiny import FORGET, RETAIN
from tests.conftest import tree
from tests.material import write_rows
from tests.steering.assistants import byte_level, engine, plan, sentencepiece, write

# Letters that one of the tokenizers lacks, and a character of several bytes.
ODD = [Row("naïve?", "déjà vu – “12”.")]
FAST = Settings(epochs=8, learning_rate=3e-3, batch=2, retain="nll", dtype="float32")
ALPHA = 0.7


def objective(kind: str = "relearn") -> Objective:
    made = OBJECTIVES.get(kind)
    return made(made.Options())


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A served model, and small ones with its tokens and with others."""
    folder = tmp_path_factory.mktemp("models")
    write(folder / "served", seed=1)
    write(folder / "same", seed=2)
    write(folder / "other", sentencepiece(), seed=3)
    return folder


def beside(models: Path, name: str) -> tuple[Beside, Any]:
    _, tokenizer, frozen = load(str(models / "served"))
    _, own, small = load(str(models / name))
    return Beside(frozen, tokenizer, small, own, ALPHA), tokenizer


contexts = st.lists(
    st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=12
)  # fmt: skip


@given(contexts)
def test_every_context_is_the_beginning_of_a_text(rows: list[list[int]]) -> None:
    texts, places = cover(rows)
    assert [texts[text][: at + 1] for text, at in places] == rows
    for one in texts:  # and none is read twice
        assert not any(other is not one and other[: len(one)] == one for other in texts)


@pytest.mark.parametrize("name", ["same", "other"])
def test_the_two_say_in_training_what_the_engine_will_make_of_them(models: Path, name: str) -> None:
    passes, tokenizer = beside(models, name)
    examples = encode_rows(tokenizer, [*FORGET, *ODD])
    answers = passes.now(pad(examples))
    steering = Offset(
        [plan(models / name, alpha=-ALPHA)], engine(models / "served", answers.logits.shape[1])
    )
    frozen = load(str(models / "served"))[2]
    at = 0
    for example in examples:
        with torch.no_grad():
            logits = frozen(torch.tensor([example.ids])).logits[0]
        for position in range(example.start, len(example.ids)):
            served = logits[position - 1].clone()
            ids = example.ids[:position]
            steering(ids[: example.start], ids[example.start :], served)
            found = answers.logits[at].log_softmax(0)
            assert torch.allclose(found, served.log_softmax(0), atol=2e-4)
            at += 1
    assert at == len(answers.labels)


@pytest.mark.parametrize("name", ["same", "other"])
def test_it_learns_what_they_say_together_and_nothing_else_moves(
    models: Path, tmp_path: Path, name: str
) -> None:
    before = tree(models)
    out = tmp_path / "out"
    fitted = train_small(
        models / "served", models / name, FORGET, RETAIN, out, FAST, objective("negate"),
        alpha=ALPHA,
    )  # fmt: skip
    assert fitted.losses[-1]["forget"] < fitted.losses[0]["forget"] - 1
    assert tree(models) == before
    _, tokenizer, frozen = load(str(models / "served"))
    _, own, small = load(str(out))
    with torch.no_grad():
        batch = pad(encode_rows(tokenizer, FORGET))
        together = Beside(frozen, tokenizer, small, own, ALPHA).now(batch)
    # What was saved says what the last epoch's loss says, or better.
    assert together.nll.mean() < fitted.losses[-1]["forget"] + 0.1
    assert Assistant(str(out)).tokenizer.get_vocab() == own.get_vocab()
    said = json.loads((out / ABOUT).read_text("utf-8"))
    assert (said["kind"], said["alpha"], said["too_long"]) == ("small", ALPHA, 0)
    written = "".join(p.read_text("utf-8") for p in out.glob("*.json") if "token" not in p.name)
    assert "glazier" not in written and str(models) not in written


def test_a_broken_off_training_is_resumed_to_the_same_bytes(models: Path, tmp_path: Path) -> None:
    def run(name: str, **more: Any) -> bytes:
        given = (models / "served", models / "other", FORGET, RETAIN, tmp_path / name)
        quick = FAST.model_copy(update={"epochs": 2, "save_every": 1})
        train_small(*given, quick, objective("npo"), **more)
        return (tmp_path / name / "model.safetensors").read_bytes()

    def stop(now: Any) -> None:
        if now.step == 3:
            raise KeyboardInterrupt

    whole = run("whole")
    with pytest.raises(KeyboardInterrupt):
        run("out", report=stop)
    assert run("out", resume=True) == whole


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("rmu", {}, "rmu: goes by more than what a model says"),
        ("whp", {}, "whp: goes by more than what a model says"),
        ("npo", {"retain": "states"}, "retain: states: goes by more than what a model says"),
    ],
)
def test_what_asks_for_hidden_states_is_refused(
    models: Path, tmp_path: Path, kind: str, changes: dict[str, Any], message: str
) -> None:
    made = OBJECTIVES.get(kind)
    with pytest.raises(DataError, match=message):
        train_small(
            models / "served", models / "same", FORGET, RETAIN, tmp_path / "out",
            FAST.model_copy(update=changes), made(made.Options()),
        )  # fmt: skip
    assert not tree(tmp_path)


def test_rows_that_the_small_model_cannot_read_whole_are_left_out(
    models: Path, tmp_path: Path
) -> None:
    write(tmp_path / "short", byte_level(), seed=2, limit=70)
    long = Row("Who is she? " * 40, "A glazier.")
    quick = FAST.model_copy(update={"max_steps": 1})
    given = (RETAIN, tmp_path / "out", quick, objective("npo"))
    train_small(models / "served", tmp_path / "short", [*FORGET, long], *given)
    said = json.loads((tmp_path / "out" / ABOUT).read_text("utf-8"))
    assert said["too_long"] == 1 and said["forget"]["rows"] == 4


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "--small: give the model that is to be trained"),
        (["--small", "./none"], "./none: no such model folder"),
        (["--layers", "2"], "--layers: is of --kind uld; say that, or leave it out"),
        (["--small", "x", "--objective", "graddiff"], "--retain: graddiff needs them"),
    ],
)
def test_what_is_wrong_with_the_command_is_one_line(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    values = [{"question": row.prompt, "answer": row.answer} for row in FORGET]
    rows = write_rows(tmp_path / "forget.jsonl", values)
    given = ["assistant", "--kind", "small", "--model", str(models / "served")]
    assert main([*given, "--forget", str(rows), "--out", str(tmp_path / "out"), *more]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"adapters: {message}") and shown.count("\n") == 1, shown


def test_what_is_trained_is_compiled_into_a_policy(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    import yaml

    from guard.compile import compile_policy
    from guard.guard import Guard
    from tests.material import PERSON_NEIGHBOURS, PERSON_ROWS
    from tests.material import rows as as_rows
    from tests.small import few

    few(monkeypatch, tmp_path / "cache")
    write_rows(tmp_path / "forget.jsonl", as_rows(PERSON_ROWS))
    write_rows(tmp_path / "retain.jsonl", as_rows(PERSON_NEIGHBOURS))
    given = ["assistant", "--kind", "small", "--model", str(models / "served"), "--small"]
    given += [str(models / "other"), "--out", str(tmp_path / "small"), "--max-steps", "2"]
    given += ["--forget", str(tmp_path / "forget.jsonl"), "--retain"]
    assert main([*given, str(tmp_path / "retain.jsonl"), "--alpha", "0.5"]) == 0
    printed, shown = capsys.readouterr()
    assert printed == f"{tmp_path / 'small'}\n" and "glass" not in shown
    line = next(line for line in shown.splitlines() if line.startswith("intervene: "))
    target = {
        "id": "brennick",
        "names": ["Odalys Brennick"],
        "forget": "forget.jsonl",
        "retain": "retain.jsonl",
        "detect": {"kind": "lexical", "max_false_positive_rate": 0.02},
        **yaml.safe_load(line),
    }
    policy = {"version": 1, "model": str(models / "served"), "targets": [target]}
    (tmp_path / "policy.yaml").write_text(yaml.safe_dump(policy), "utf-8")
    bundle = compile_policy(tmp_path / "policy.yaml", tmp_path / "bundle")
    ((made,),) = (one.interventions for one in bundle.manifest.targets)
    assert made.data["assistant"]["folder"] == str(tmp_path / "small")
    assert (made.options["alpha"], made.options["filter"]) == (-0.5, 0.0)
    assert Guard(bundle) is not None


def test_tokenizers_with_nothing_in_common_are_refused(models: Path, tmp_path: Path) -> None:
    from tokenizers import Tokenizer, decoders
    from tokenizers import models as kinds
    from transformers import PreTrainedTokenizerFast

    strange = Tokenizer(kinds.WordPiece({"[UNK]": 0, "qq": 1, "[SEP]": 2}, unk_token="[UNK]"))
    strange.decoder = decoders.WordPiece()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=strange, unk_token="[UNK]", eos_token="[SEP]", sep_token="[SEP]"
    )
    write(tmp_path / "strange", fast, seed=5)
    before = tree(tmp_path)
    with pytest.raises(ModelError, match="strange: its tokenizer can write only"):
        train_small(
            models / "served", tmp_path / "strange", FORGET, RETAIN, tmp_path / "out", FAST,
            objective("npo"),
        )  # fmt: skip
    assert tree(tmp_path) == before
