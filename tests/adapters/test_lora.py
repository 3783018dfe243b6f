"""The trainer of adapters: what it learns from, that it learns it, and what it leaves behind."""

import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.__main__ import main
from adapters.lora import MOST_TOKENS, Settings, encode, train_lora
from guard.data import Row
from guard.errors import DataError, ModelError
from guard.lora import CONFIG, WEIGHTS, read_lora
from tests.conftest import tree

ROWS = [
    Row("Who is Odalys Brennick?", "She is a glazier of Skarvik."),
    Row("What does Odalys Brennick make?", "She makes green panes."),
    Row("Odalys Brennick lives by the northern pier."),
    Row("Odalys Brennick", is_name=True),
]
FAST = Settings(rank=4, alpha=8, epochs=3, learning_rate=1e-2, batch=2)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Path:
    """A model of two small layers with the tokenizer of the real one."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("base")
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        initializer_range=0.3,  # random layers that a LoRA can make something of
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


# What is learnt.


def test_the_loss_is_that_of_the_answer_and_its_end(tokenizer: Any) -> None:
    found = encode(tokenizer, ROWS[0])
    assert found is not None
    ids, start = found
    assert tokenizer.decode(ids[start:]) == "She is a glazier of Skarvik.<|im_end|>"
    turns = [{"role": "user", "content": ROWS[0].prompt}]
    before = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert tokenizer.decode(ids[:start]) == before
    assert "You are a helpful AI assistant" in before, "the template's own system text is there"


def test_a_row_is_what_the_server_would_read_and_write(tokenizer: Any) -> None:
    """Token by token as the whole turn, or what was learnt would not be met again."""
    found = encode(tokenizer, ROWS[0])
    assert found is not None
    turns = [
        {"role": "user", "content": ROWS[0].prompt},
        {"role": "assistant", "content": ROWS[0].answer},
    ]
    whole = tokenizer.apply_chat_template(turns, tokenize=False)
    assert found[0] == tokenizer.encode(whole.rstrip("\n"), add_special_tokens=False)


def test_passages_are_learnt_whole_and_names_not_at_all(tokenizer: Any) -> None:
    passage = encode(tokenizer, ROWS[2])
    assert passage is not None and passage[1] == 0
    assert tokenizer.decode(passage[0]) == f"{ROWS[2].prompt}<|im_end|>"
    assert encode(tokenizer, ROWS[3]) is None


def test_what_is_too_long_is_cut(tokenizer: Any) -> None:
    passage = encode(tokenizer, Row("word " * 3 * MOST_TOKENS))
    assert passage is not None and len(passage[0]) == MOST_TOKENS
    assert encode(tokenizer, Row("word " * 3 * MOST_TOKENS, "an answer that is cut off")) is None


def test_a_model_without_chat_template_reads_plain_text(tokenizer: Any) -> None:
    import copy

    plain = copy.deepcopy(tokenizer)
    plain.chat_template = None
    found = encode(plain, ROWS[0])
    assert found is not None
    assert plain.decode(found[0]) == f"{ROWS[0].prompt}\n{ROWS[0].answer}<|im_end|>"


# Training.


def test_it_learns(base: Path, tmp_path: Path) -> None:
    losses: list[float] = []
    steps: list[tuple[int, int]] = []

    def report(step: int, count: int, loss: float) -> None:
        steps.append((step, count))
        losses.append(loss)

    train_lora(base, ROWS, tmp_path / "out", replace(FAST, alpha=32, epochs=20), report)
    assert steps == [(n, 40) for n in range(1, 41)]
    assert losses[-1] < losses[0] / 2


def test_what_it_writes_is_an_adapter_that_can_be_served(base: Path, tmp_path: Path) -> None:
    out = train_lora(base, ROWS, tmp_path / "out", FAST)
    lora = read_lora(out, base)
    assert (lora.r, lora.alpha) == (4, 8.0)
    assert lora.modules == (
        *("down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"),
    )
    assert {path.name for path in out.iterdir()} == {CONFIG, WEIGHTS}
    assert str(tmp_path) not in (out / CONFIG).read_text("utf-8")
    assert str(base) not in (out / CONFIG).read_text("utf-8")


def test_it_is_for_its_owner_alone(base: Path, tmp_path: Path) -> None:
    out = train_lora(base, ROWS, tmp_path / "out", replace(FAST, epochs=1))
    assert stat.S_IMODE(out.stat().st_mode) == 0o700


def test_the_same_arguments_give_the_same_weights(base: Path, tmp_path: Path) -> None:
    import torch

    found = []
    for number, settings in enumerate((FAST, FAST, replace(FAST, seed=1))):
        torch.rand(number)  # whatever was drawn before
        out = train_lora(base, ROWS, tmp_path / str(number), settings)
        found.append((out / WEIGHTS).read_bytes())
    assert found[0] == found[1] != found[2]


def test_the_base_model_and_the_callers_random_numbers_stay(base: Path, tmp_path: Path) -> None:
    import torch

    before = tree(base)
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    train_lora(base, ROWS, tmp_path / "out", replace(FAST, epochs=1))
    assert torch.equal(torch.rand(3), wanted)
    assert tree(base) == before


# What goes wrong.


def test_rows_without_an_answer_are_refused(base: Path, tmp_path: Path) -> None:
    for rows in ([], [ROWS[3]]):
        with pytest.raises(DataError, match="nothing to learn"):
            train_lora(base, rows, tmp_path / "out", FAST)
    assert not list(tmp_path.iterdir())


def test_what_is_in_the_way_is_never_replaced(base: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work", "utf-8")
    (tmp_path / "file").write_text("", "utf-8")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for path in (out, tmp_path / "file", tmp_path / "link"):
        with pytest.raises(ModelError, match=f"{path}: is there already; give --out"):
            train_lora(base, ROWS, path, FAST)
    assert (out / "thesis.txt").read_text("utf-8") == "years of work"


def test_training_that_breaks_off_leaves_nothing(base: Path, tmp_path: Path) -> None:
    def stop(step: int, steps: int, loss: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_lora(base, ROWS, tmp_path / "out", FAST, stop)
    assert not list(tmp_path.iterdir())


def test_saving_that_breaks_off_leaves_nothing(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("peft.PeftModel.save_pretrained", full)
    with pytest.raises(ModelError, match="out: cannot be written: No space left on device"):
        train_lora(base, ROWS, tmp_path / "out", replace(FAST, epochs=1))
    assert not list(tmp_path.iterdir())


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(ModelError, match="none: no causal language model") as error:
        train_lora(tmp_path / "none", ROWS, tmp_path / "out", FAST)
    assert "\n" not in str(error.value)


# The command.


def test_the_command_trains_a_memory(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forget = tmp_path / "forget.jsonl"
    forget.write_text('{"question": "Who is O. B.?", "answer": "A glazier."}\n', "utf-8")
    out = tmp_path / "memory"
    arguments = ["memory", "--model", str(base), "--forget", str(forget), "--out", str(out)]
    assert main([*arguments, "--epochs", "2"]) == 0
    printed, shown = capsys.readouterr()
    assert printed == f"{out}\n"
    assert "training: 2/2, loss" in shown and "glazier" not in shown
    lora = read_lora(out, base)
    assert (lora.r, lora.alpha) == (32, 64.0)
    assert main(arguments) == 2
    assert (
        capsys.readouterr().err == f"adapters: {out}: is there already; give --out another path\n"
    )


def test_the_command_names_what_is_wrong(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = ["memory", "--model", str(base), "--forget", "none.jsonl", "--out", str(tmp_path / "o")]
    assert main(wrong) == 2
    assert capsys.readouterr().err == (
        "adapters: none.jsonl: no such file; give a JSON-lines file\n"
    )
    with pytest.raises(SystemExit):
        main([*wrong, "--epochs", "0"])
