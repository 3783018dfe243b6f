"""A soft prompt: read as PEFT writes it, put where PEFT puts it, and refused when it cannot fit."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from guard.errors import GuardError
from guard.interventions.base import Material, Request
from guard.interventions.soft_prompt import SoftPrompt, SoftPromptOptions, read_soft_prompt
from guard.parts import Parts
from guard.view import View
from tests.interventions.test_matrix import EXAMPLES, Model, finding, make, request

ROWS = torch.arange(36, dtype=torch.float32).reshape(3, 12) / 7
WIDTH = 576  # of the built-in model


def written(folder: Path, **tensors: Any) -> Path:
    save_file(tensors, folder / "prompt.safetensors")
    return folder / "prompt.safetensors"


def soft_prompt(rows: Any = ROWS) -> SoftPrompt:
    options = SoftPromptOptions(path=Path("prompt.safetensors"))
    return SoftPrompt("brennick", options, Parts(arrays={"prompt": np.asarray(rows)}))


def apply(intervention: SoftPrompt, before: Request) -> Request:
    after = intervention.apply(before, finding("soft_prompt"), Model())
    assert isinstance(after, Request)
    return after


# Reading.


@pytest.mark.parametrize("name", ["prompt", "prompt_embeddings"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_file_is_read_in_any_type_of_float(tmp_path: Path, name: str, dtype: Any) -> None:
    rows = read_soft_prompt(written(tmp_path, **{name: ROWS.to(dtype)}))
    assert rows.dtype == np.float32
    assert np.array_equal(rows, ROWS.to(dtype).float().numpy())


@pytest.mark.parametrize("kind", ["PromptTuningConfig", "PromptEncoderConfig"])
def test_what_peft_saves_is_what_peft_puts_before_a_prompt(tmp_path: Path, kind: str) -> None:
    import peft
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    small = LlamaConfig(
        hidden_size=16,
        intermediate_size=16,
        num_attention_heads=2,
        num_hidden_layers=1,
        vocab_size=32,
    )
    config = getattr(peft, kind)(task_type="CAUSAL_LM", num_virtual_tokens=5)
    model = peft.get_peft_model(LlamaForCausalLM(small), config).eval()
    model.save_pretrained(tmp_path)
    rows = read_soft_prompt(tmp_path)
    ids = torch.tensor([[3, 7, 9]])
    with torch.no_grad():
        own = model.get_base_model().get_input_embeddings()(ids)[0].numpy()
        before = torch.tensor(np.concatenate([rows, own])[None])
        wanted = model(input_ids=ids).logits
        found = model.get_base_model()(inputs_embeds=before).logits
    assert rows.shape == (5, 16)
    assert torch.allclose(wanted[0, -1], found[0, -1], atol=1e-6)


def folder_of(tmp_path: Path, config: Any) -> Path:
    save_file({"prompt_embeddings": ROWS}, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text(json.dumps(config), "utf-8")
    return tmp_path


@pytest.mark.parametrize("config", [{"peft_type": "LORA"}, {"peft_type": "PREFIX_TUNING"}])
def test_another_kind_of_peft_is_refused(tmp_path: Path, config: Any) -> None:
    with pytest.raises(GuardError, match=r"adapter_config.json: 'peft_type' is .*_TUNING or P_TUN"):
        read_soft_prompt(folder_of(tmp_path, config))


@pytest.mark.parametrize("config", [{}, [], None])
def test_a_folder_that_does_not_say_what_it_is_is_refused(tmp_path: Path, config: Any) -> None:
    with pytest.raises(GuardError, match=r"adapter_config.json: missing, or says no 'peft_type'"):
        read_soft_prompt(folder_of(tmp_path, config))


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {"peft_type": "PROMPT_TUNING"})
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(GuardError, match=r"adapter_model.safetensors: no such file"):
        read_soft_prompt(folder)


@pytest.mark.parametrize(
    ("tensors", "why"),
    [
        ({}, "must hold one tensor, .* it holds none"),
        ({"weights": ROWS}, "must hold one tensor, .* it holds 'weights'"),
        ({"prompt": ROWS, "more": ROWS * 2}, "must hold one tensor, .* it holds 'more', 'prompt'"),
        ({"prompt": ROWS[0]}, r"'prompt' is torch.float32 \[12\]"),
        ({"prompt": ROWS[None]}, r"'prompt' is torch.float32 \[1, 3, 12\]"),
        ({"prompt": ROWS[:0]}, r"'prompt' is torch.float32 \[0, 12\]"),
        ({"prompt": ROWS.long()}, r"'prompt' is torch.int64 \[3, 12\]"),
        ({"prompt": ROWS / 0}, "'prompt' holds what is no finite number"),
    ],
)
def test_a_file_with_something_else_is_refused(tmp_path: Path, tensors: Any, why: str) -> None:
    with pytest.raises(GuardError, match=why) as error:
        read_soft_prompt(written(tmp_path, **tensors))
    assert str(tmp_path / "prompt.safetensors") in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_missing_or_damaged_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prompt.safetensors"
    with pytest.raises(GuardError, match="no such file"):
        read_soft_prompt(path)
    path.write_bytes(b"not safetensors at all")
    with pytest.raises(GuardError, match="damaged, or not safetensors"):
        read_soft_prompt(path)


# Fitting.


def test_the_bundle_has_the_rows_and_nothing_else(tmp_path: Path, served: Path) -> None:
    rows = torch.randn(4, WIDTH)
    options = SoftPromptOptions(path=written(tmp_path, prompt=rows))
    parts = SoftPrompt.fit(Material(EXAMPLES, Model(), served), options)
    assert not parts.data and np.array_equal(parts.arrays["prompt"], rows.numpy())
    assert str(tmp_path) not in json.dumps(options.model_dump(mode="json"))


def test_rows_of_another_model_are_refused(tmp_path: Path, served: Path) -> None:
    options = SoftPromptOptions(path=written(tmp_path, prompt=ROWS))
    with pytest.raises(GuardError, match=f"rows of 12 numbers, .* have {WIDTH}"):
        SoftPrompt.fit(Material(EXAMPLES, Model(), served), options)


def test_without_a_served_model_it_cannot_be_fitted(tmp_path: Path) -> None:
    options = SoftPromptOptions(path=written(tmp_path, prompt=ROWS))
    with pytest.raises(GuardError, match="needs the served model's folder"):
        SoftPrompt.fit(Material(EXAMPLES, Model()), options)


# Applying.


def test_it_stands_before_everything() -> None:
    before = request("Who?")
    after = apply(soft_prompt(), before)
    assert after.token_ids[3:] == before.token_ids
    assert set(after.embeddings) == {0, 1, 2}
    assert np.array_equal(np.stack([after.embeddings[n] for n in range(3)]), ROWS.numpy())


def test_what_stands_for_it_is_in_the_prompt_anyway() -> None:
    """A repetition penalty counts the tokens of a prompt; it must find the same ones."""
    before = Request((9, 4), View.of_text("ab"), ((0, 1), (1, 2)), 7)
    assert set(apply(soft_prompt(), before).token_ids) == {9, 4}


def test_it_is_inserted_once_for_several_targets() -> None:
    once = apply(soft_prompt(), request("Who?"))
    assert apply(soft_prompt(), once) is once
    both = apply(soft_prompt(-ROWS[1:]), once)
    assert len(both.token_ids) == 2 + 3 + 4
    assert apply(soft_prompt(), both) is both
    assert apply(soft_prompt(-ROWS[1:]), both) is both


def test_it_goes_with_corruption_in_either_order() -> None:
    def corrupted(request: Request) -> Request:
        after = make("corrupt").apply(request, finding("corrupt"), Model())
        assert isinstance(after, Request)
        return after

    first = corrupted(apply(soft_prompt(), request()))
    second = apply(soft_prompt(), corrupted(request()))
    assert not first.differs(second)
    assert set(range(3)) < set(first.embeddings)
    assert np.array_equal(first.embeddings[1], ROWS[1].numpy())


def test_an_instruction_does_not_come_before_it() -> None:
    after = make("instruct").apply(
        apply(soft_prompt(), request("Who?")), finding("instruct"), Model()
    )
    assert isinstance(after, Request)
    assert set(after.embeddings) == {0, 1, 2}


def test_nothing_that_was_said_is_an_error() -> None:
    with pytest.raises(GuardError, match="nothing to put a soft prompt before"):
        apply(soft_prompt(), Request((1,), View("<a>", ()), ((0, 3),), 7))


def test_it_asks_for_prompt_embeddings() -> None:
    assert soft_prompt().engine_args == {"enable_prompt_embeds": True}
