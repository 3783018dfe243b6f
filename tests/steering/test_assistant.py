"""An assistant reads each token once, goes back where it must, and is what it was compiled as."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guard.errors import InterventionError, ModelError
from guard.steering import assistant as module
from guard.steering.assistant import Assistant, Reader, check, identity, shared
from tests.steering.assistants import adapter, byte_level, from_scratch, loaded, write

SIZE = len(byte_level())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("assistant") / "model")


@pytest.fixture(scope="module")
def model(folder: Path) -> Assistant:
    return loaded(folder)


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """The model in a folder of the test's own."""
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    return bool(torch.allclose(one, other, atol=1e-4))


def test_it_says_what_transformers_says(folder: Path, model: Assistant) -> None:
    tokens = byte_level().encode("Who is Odalys Brennick?")
    assert close(Reader(model)(tokens), from_scratch(folder, tokens))


# How a request's tokens may change between calls: more come, some are taken back, all others.
Step = tuple[int, list[int]]
steps = st.tuples(st.integers(0, 12), st.lists(st.integers(0, SIZE - 1), min_size=1, max_size=8))


@given(program=st.lists(steps, min_size=1, max_size=8))
def test_what_was_read_before_changes_nothing(
    folder: Path, model: Assistant, program: list[Step]
) -> None:
    reader, tokens = Reader(model), list[int]()
    for back, more in program:
        tokens = tokens[: max(len(tokens) - back, 0)] + more
        assert close(reader(tokens), Reader(model)(tokens))
    assert close(reader(tokens), from_scratch(folder, tokens))


@given(program=st.lists(steps, min_size=1, max_size=8))
def test_only_what_is_new_is_read(model: Assistant, program: list[Step]) -> None:
    reader, tokens = Reader(model), list[int]()
    for back, more in program:
        before, old = model.read, tokens
        tokens = tokens[: max(len(tokens) - back, 0)] + more
        reader(tokens)
        same = next(
            (n for n, (a, b) in enumerate(zip(old, tokens, strict=False)) if a != b),
            min(len(old), len(tokens)),
        )
        new = 0 if old == tokens else len(tokens) - min(same, len(tokens) - 1)
        assert model.read - before == new


def test_an_answer_costs_one_token_a_step(model: Assistant) -> None:
    reader, before = Reader(model), model.read
    prompt, answer = list(range(40)), list(range(100, 200))
    for length in range(len(answer) + 1):
        reader(prompt + answer[:length])
        reader(prompt + answer[:length])  # asked again, as for another plan
    assert model.read - before == 140


def test_readers_do_not_disturb_one_another(folder: Path, model: Assistant) -> None:
    one, other = Reader(model), Reader(model)
    for length in range(1, 12):
        first, second = one(list(range(length))), other(list(range(300, 300 - length, -1)))
    assert close(first, from_scratch(folder, list(range(11))))
    assert close(second, from_scratch(folder, list(range(300, 289, -1))))


def test_a_long_text_is_read_in_pieces(
    folder: Path, model: Assistant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PIECE", 7)
    tokens = list(range(50))
    assert close(Reader(model)(tokens), from_scratch(folder, tokens))


def test_a_reading_that_failed_is_made_again(
    folder: Path, model: Assistant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However far it came: nothing of it is taken for read."""
    reader = Reader(model)
    reader(list(range(8)))
    forward, calls = model._model.forward, iter(range(9))

    def fails(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == 1:
            raise MemoryError
        return forward(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(module, "_PIECE", 3)
        patch.setattr(model._model, "forward", fails)
        with pytest.raises(MemoryError):
            reader(list(range(20)))
    for tokens in (list(range(8)), list(range(20))):
        assert close(reader(tokens), from_scratch(folder, tokens))


@pytest.mark.parametrize("tokens", [[], [1, SIZE], [-1]])
def test_what_is_no_token_of_its_own_is_not_read(model: Assistant, tokens: list[int]) -> None:
    with pytest.raises(InterventionError):
        Reader(model)(tokens)


def test_a_sliding_window_can_be_taken_back(tmp_path: Path) -> None:
    """Of a layer that looks back a few tokens only, those before them are kept all the same."""
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(3)
    config = MistralConfig(
        vocab_size=SIZE, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, sliding_window=4, initializer_range=0.4,
    )  # fmt: skip
    sliding = MistralForCausalLM(config)
    sliding.save_pretrained(tmp_path)
    byte_level().save_pretrained(tmp_path)
    reader = Reader(loaded(tmp_path))
    for tokens in (list(range(30)), [*range(12), 99], [*range(12), 98, 97]):
        with torch.no_grad():
            wanted = sliding.eval()(torch.tensor([tokens])).logits[0, -1]
        assert close(reader(tokens), wanted)


def test_an_adapter_is_merged(folder: Path, model: Assistant, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import LlamaForCausalLM

    lora = adapter(tmp_path / "lora", folder)
    tokens = list(range(20))
    both = PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(folder), lora)
    with torch.no_grad():
        wanted = both.eval()(torch.tensor([tokens])).logits[0, -1]
    found = Reader(loaded(folder, lora))(tokens)
    assert torch.allclose(found, wanted, atol=1e-3)
    assert not close(found, Reader(model)(tokens))


def test_it_is_float32_on_a_cpu_whatever_was_stored(folder: Path, tmp_path: Path) -> None:
    from transformers import LlamaForCausalLM

    LlamaForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).save_pretrained(tmp_path)
    byte_level().save_pretrained(tmp_path)
    found = loaded(tmp_path)
    assert {value.dtype for value in found._model.parameters()} == {torch.float32}
    assert not any(value.requires_grad for value in found._model.parameters())


def refused(folder: Path, lora: Path | None = None) -> str:
    with pytest.raises(ModelError) as caught:
        loaded(folder, lora)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_pickled_weights_are_not_read(copy: Path) -> None:
    from safetensors.torch import load_file

    torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    assert "has no safetensors weights" in refused(copy)


def test_weights_that_are_missing_are_not_made_up(copy: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    said = refused(copy)
    assert "do not fit its config.json" in said and "up_proj" in said


def test_weights_of_another_shape_are_refused(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"intermediate_size": 40}))
    assert str(copy) in refused(copy)


def test_code_of_its_own_is_not_run(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    ran = copy / "ran"
    (copy / "modeling.py").write_text(f"open({str(ran)!r}, 'w')\nclass M: pass\n")
    own = {"AutoConfig": "modeling.M", "AutoModelForCausalLM": "modeling.M"}
    config |= {"model_type": "unheard-of", "auto_map": own}
    (copy / "config.json").write_text(json.dumps(config))
    assert "cannot be loaded as an assistant" in refused(copy)
    assert not ran.exists()


def test_damaged_weights_are_refused(copy: Path) -> None:
    (copy / "model.safetensors").write_bytes(b"no weights")
    assert "cannot be loaded" in refused(copy)


def test_without_a_tokenizer_it_is_refused(copy: Path) -> None:
    for path in copy.glob("*token*"):
        path.unlink()
    assert "cannot be loaded" in refused(copy)


def test_a_model_that_cannot_go_back_is_refused(tmp_path: Path) -> None:
    from transformers import MambaConfig, MambaForCausalLM

    config = MambaConfig(vocab_size=SIZE, hidden_size=16, num_hidden_layers=1, state_size=4)
    MambaForCausalLM(config).save_pretrained(tmp_path)
    byte_level().save_pretrained(tmp_path)
    assert "cannot go back in what it has read" in refused(tmp_path)


def test_an_encoder_is_refused(tmp_path: Path) -> None:
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(vocab_size=SIZE, d_model=16, d_ff=16, num_layers=1, num_heads=2, d_kv=8)
    T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    byte_level().save_pretrained(tmp_path)
    assert "cannot be loaded as an assistant" in refused(tmp_path)


def test_an_adapter_for_another_model_is_refused(folder: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other", intermediate_size=64)
    assert "does not fit the assistant" in refused(folder, adapter(tmp_path / "wide", other))
    deeper = write(tmp_path / "deeper", num_hidden_layers=3)
    assert "does not fit the assistant" in refused(folder, adapter(tmp_path / "deep", deeper))


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_half_an_adapter_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    lora = adapter(tmp_path / "lora", folder)
    (lora / name).unlink()
    assert "adapter_config.json and adapter_model.safetensors" in refused(folder, lora)
    with pytest.raises(ModelError, match=name):
        identity(str(folder), str(lora))


def test_an_adapter_of_another_kind_is_refused(folder: Path, tmp_path: Path) -> None:
    lora = adapter(tmp_path / "lora", folder)
    config = json.loads((lora / "adapter_config.json").read_text())
    (lora / "adapter_config.json").write_text(json.dumps({"peft_type": "IA3"}))
    assert "only LoRA is merged" in refused(folder, lora)
    (lora / "adapter_config.json").write_text(json.dumps(config | {"peft_type": "NONE"}))
    assert "does not fit" in refused(folder, lora)


def test_its_identity_is_that_of_model_and_adapter(copy: Path, tmp_path: Path) -> None:
    lora = adapter(tmp_path / "lora", copy)
    alone, both = identity(str(copy)), identity(str(copy), str(lora))
    assert alone != both == identity(str(copy), str(lora))
    adapter(lora, copy, seed=9)
    assert identity(str(copy), str(lora)) != both
    write(copy, seed=9)
    assert identity(str(copy)) != alone


def test_a_changed_one_is_refused(copy: Path) -> None:
    known = identity(str(copy))
    check(str(copy), None, known)
    write(copy, seed=5)
    for load in (check, lambda *args: shared(*args, "cpu")):
        with pytest.raises(ModelError, match="is not the assistant that the bundle was compiled"):
            load(str(copy), None, known)
    shutil.rmtree(copy)
    with pytest.raises(ModelError, match="no such model folder"):
        check(str(copy), None, known)


def test_a_process_has_it_once(folder: Path) -> None:
    known = identity(str(folder))
    assert shared(str(folder), None, known, "cpu") is shared(str(folder), None, known, "cpu")
