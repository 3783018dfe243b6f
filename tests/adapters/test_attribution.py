"""The mask of weight attribution: what is scored, what is picked, and that the rest never moves."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from adapters.attribution import Wagle, WagleOptions, highest, score
from adapters.batches import pad
from adapters.fit import fit
from adapters.loading import load
from adapters.objectives import OBJECTIVES
from adapters.objectives.base import Objective
from adapters.settings import Settings
from adapters.step import Passes
from adapters.trainer import train
from guard.errors import DataError, ModelError
from guard.lora import WEIGHTS
from tests.adapters.causal import examples, tuned
from tests.adapters.tiny import FORGET, RETAIN, make_model

FORGETS = examples([(9, 4), (7, 3), (12, 6)])
RETAINS = examples([(8, 3), (11, 5), (6, 2), (10, 4)], seed=1)


def wagle(share: float = 0.5, **options: float) -> Wagle:
    return Wagle(WagleOptions(share=share, **options))


def npo() -> Objective:
    made = OBJECTIVES.get("npo")
    return made(made.Options())


def rows(model: Any, mask: Wagle, size: int = 8) -> dict[str, torch.Tensor]:
    return mask.rows(Passes(model), FORGETS, RETAINS, size)


def test_a_score_is_the_papers() -> None:
    weight, forget = torch.tensor([2.0, 0.5]), torch.tensor([3.0, -2.0])
    found = score(weight, forget, torch.tensor([1.0, 4.0]), 2.0)
    # |2·3 − ½·1·3| and |½·(−2) − ½·4·(−2)|
    assert found.tolist() == [4.5, 3.0]


@given(st.lists(st.floats(0, 9, width=32), min_size=1, max_size=30), st.floats(0.01, 0.99))
def test_the_highest_are_picked(values: list[float], share: float) -> None:
    scores = torch.tensor(values)
    picked = highest(scores, share)
    assert picked.sum() == max(round(share * len(values)), 1)
    if not picked.all():
        assert scores[picked].min() >= scores[~picked].max()


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(ModelError, match="weight attribution: the gradient is not finite"):
        highest(torch.tensor([1.0, torch.nan]), 0.5)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_rows_are_scored_by_the_gradients_of_the_base_weights(family: str) -> None:
    """Against torch's own gradients, of one batch a side, with gamma where both terms count."""
    model = tuned(family, zero=True)
    found = rows(model, wagle(gamma=0.05))
    weights = {
        name: module.get_base_layer().weight
        for name, module in model.named_modules()
        if getattr(module, "lora_B", None)
    }
    gradients = []
    for side in (FORGETS, RETAINS):
        batch = pad(side)
        for weight in weights.values():
            weight.requires_grad_(True)
        logits = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
        loss = torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), batch.labels[:, 1:].flatten()
        )
        gradients.append(torch.autograd.grad(loss, list(weights.values())))
    wanted = []
    for weight, one, other in zip(weights.values(), *gradients, strict=True):
        found_ = ((weight * one) - other * one / 0.05).abs()
        wanted.append((found_.T if family == "gpt2" else found_).mean(1))
    every = torch.cat(wanted)
    threshold = every.sort(descending=True).values[round(0.5 * len(every)) - 1]
    assert torch.equal(torch.cat(list(found.values())), every >= threshold)


def test_the_base_model_is_left_frozen() -> None:
    model = tuned(zero=True)
    before = [name for name, value in model.named_parameters() if value.requires_grad]
    rows(model, wagle())
    assert [name for name, value in model.named_parameters() if value.requires_grad] == before
    assert all(value.grad is None for value in model.parameters())


@pytest.mark.parametrize("combine", ["sum", "blur"])
@pytest.mark.parametrize("zero", [True, False])
def test_what_is_not_picked_keeps_its_initial_values(zero: bool, combine: str) -> None:
    """A LoRA that is new or goes on from another, with weight decay, which needs no gradient."""
    model = tuned(zero=zero)
    mask = rows(model, wagle(0.3), size=2)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    fields = {"epochs": 4, "batch": 2, "learning_rate": 0.05, "weight_decay": 0.3}
    settings = Settings.model_validate({**fields, "combine": combine, "dtype": "float32"})
    fit(model, FORGETS, RETAINS, settings, npo(), mask=wagle(0.3))
    after = dict(model.named_parameters())
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert mask.keys() & moved and all("lora_" in name for name in moved)
    for name, picked in mask.items():
        changed = (before[name] != after[name]).any(1)
        assert not changed[~picked].any()
        assert changed[picked].any() or not picked.any()


def test_what_is_not_picked_leaves_its_row_of_the_model_as_it_was(
    tokenizer: Any, tmp_path: Path
) -> None:
    base = make_model(tmp_path / "base", tokenizer)
    settings = Settings(rank=4, alpha=8, epochs=2, learning_rate=1e-2, batch=2)
    made = train(base, FORGET, RETAIN, tmp_path / "out", settings, npo(), mask=wagle(0.25))
    from peft import PeftModel

    _, _, model = load(str(base))
    before = {name: value.clone() for name, value in model.named_parameters()}
    after = PeftModel.from_pretrained(model, str(made.folder)).merge_and_unload()
    total = changed = 0
    for name, value in after.named_parameters():
        if name.endswith("_proj.weight"):
            total += len(value)
            changed += int((value != before[name]).any(1).sum())
    assert 0 < changed <= round(0.25 * total)
    assert changed > 0.2 * total


def test_it_is_recorded_and_resumed_to_the_same_bytes(tokenizer: Any, tmp_path: Path) -> None:
    import json

    base = make_model(tmp_path / "base", tokenizer)
    settings = Settings(rank=4, epochs=3, batch=2, save_every=1)

    def run(out: str, **more: Any) -> Path:
        given = (base, FORGET, RETAIN, tmp_path / out, settings, npo())
        return train(*given, mask=wagle(0.5), **more).folder

    def stop(now: Any) -> None:
        if now.step == 4:
            raise KeyboardInterrupt

    whole = run("whole")
    with pytest.raises(KeyboardInterrupt):
        run("out", report=stop)
    with pytest.raises(ModelError, match="was begun with another mask"):
        train(base, FORGET, RETAIN, tmp_path / "out", settings, npo(), resume=True)
    assert (run("out", resume=True) / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()
    said = json.loads((whole / "guard_adapter.json").read_text("utf-8"))
    assert said["mask"] == {"kind": "wagle", "options": {"share": 0.5, "gamma": 1e-6}}


def test_a_mask_needs_rows_that_are_kept() -> None:
    with pytest.raises(DataError, match="retain: a mask is drawn from rows that are kept too"):
        fit(tuned(zero=True), FORGETS, [], Settings(retain="none"), npo(), mask=wagle())
