"""The forward passes of a step: what is picked out is what the whole model would have said."""

import pytest
import torch

from adapters.batches import pad
from adapters.step import REINFORCED, ModelStep, Passes
from tests.adapters.causal import VOCABULARY, causal, examples, tuned

ROWS = examples([(9, 4), (6, 0), (7, 6), (3, 1)])
FAMILIES = ("llama", "qwen2", "gemma2", "granite", "gpt2")


def step_of(passes: Passes) -> ModelStep:
    return ModelStep(passes, pad(ROWS, split="forget"), None, None, torch.Generator(), 0.0)


@pytest.mark.parametrize("family", FAMILIES)
def test_answers_are_those_of_the_whole_forward_pass(family: str) -> None:
    model = tuned(family)
    step = step_of(Passes(model))
    found = step.answers(step.forget)
    batch = step.forget
    whole = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
    at = 0
    for row, example in enumerate(ROWS):
        for position in range(max(example.start, 1), len(example.ids)):
            assert torch.equal(found.logits[at], whole[row, position - 1])
            assert (int(found.labels[at]), int(found.rows[at])) == (example.ids[position], row)
            at += 1
    assert found.logits.shape == (at, VOCABULARY) and found.count == len(ROWS)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_gradient_is_that_of_the_whole_forward_pass(family: str) -> None:
    model = tuned(family)
    step = step_of(Passes(model))
    batch = step.forget
    trained = [p for p in model.parameters() if p.requires_grad]
    found = torch.autograd.grad(step.answers(batch).nll.mean(), trained)
    whole = model(
        input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=batch.labels
    ).loss
    for mine, theirs in zip(found, torch.autograd.grad(whole, trained), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-5)


def test_padding_changes_nothing() -> None:
    passes = Passes(tuned())
    together = passes.now(pad(ROWS))
    sums = together.total(together.nll)
    for row, example in enumerate(ROWS):
        alone = passes.now(pad([example]))
        torch.testing.assert_close(alone.nll.sum(), sums[row])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_reference_is_the_base_model_and_has_no_gradient(family: str) -> None:
    step = step_of(Passes(tuned(family)))
    before = step.reference(step.forget)
    fresh = tuned(family, zero=True)
    assert torch.equal(before.logits, Passes(fresh).now(step.forget).logits)
    assert not before.logits.requires_grad
    assert not torch.allclose(before.logits, step.answers(step.forget).logits)


def test_what_was_said_before_is_remembered_by_row() -> None:
    passes = Passes(tuned())
    step = step_of(passes)
    first = step.reference_nll(step.forget)
    expected = step.reference(step.forget)
    assert torch.equal(first, expected.total(expected.nll))
    others = pad([ROWS[2], ROWS[0]], split="forget")
    again = step_of(passes)
    again._passes = None  # type: ignore[assignment]  # nothing may be passed once more
    again._passes = type("Known", (), {"known": passes.known, "remember": True})()
    assert torch.equal(again.reference_nll(others), first[[2, 0]])


def test_where_nothing_is_remembered_it_is_asked_again() -> None:
    """What one process remembered, and another did not, all of them would wait for."""
    passes = Passes(tuned(), remember=False)
    step = step_of(passes)
    first = step.reference_nll(step.forget)
    assert passes.known == {}
    kept = step_of(Passes(tuned()))
    assert torch.equal(kept.reference_nll(kept.forget), first)


def test_rows_of_different_sets_are_not_mistaken_for_each_other() -> None:
    step = step_of(Passes(tuned()))
    other = pad(examples([(8, 2)], seed=1), split="retain")
    first = step.reference_nll(step.forget)[0]
    assert step.reference_nll(other)[0] != first


@pytest.mark.parametrize("family", FAMILIES)
def test_states_are_those_after_a_layer(family: str) -> None:
    model = tuned(family)
    step = step_of(Passes(model))
    batch = step.forget
    hidden = model(
        input_ids=batch.input_ids, attention_mask=batch.attention_mask, output_hidden_states=True
    ).hidden_states
    assert torch.equal(step.states(batch, 0), hidden[1])
    assert step.states(batch, 1).shape == hidden[2].shape
    assert step.states(batch, 0).requires_grad
    with model.disable_adapter():
        before = model(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            output_hidden_states=True,
        ).hidden_states
    found = step.reference_states(batch, 0)
    assert torch.equal(found, before[1]) and not found.requires_grad


def test_one_pass_serves_answers_and_states() -> None:
    passes = Passes(tuned())
    calls: list[int] = []
    passes.layers[0].register_forward_hook(lambda *_: calls.append(1))
    step = step_of(passes)
    step.states(step.forget, 1)
    step.answers(step.forget)
    step.states(step.forget, 0)
    assert len(calls) == 1
    assert passes.tokens == sum(len(example.ids) for example in ROWS)


def test_the_last_layer_that_changes_is_known() -> None:
    assert Passes(tuned()).last == 1
    only = tuned(target_modules=["down_proj"], layers_to_transform=[0])
    assert Passes(only).last == 0


def test_soft_prompts_are_passed_as_well() -> None:
    from peft import PromptTuningConfig, get_peft_model

    config = PromptTuningConfig(
        task_type="CAUSAL_LM", num_virtual_tokens=3, prompt_tuning_init="RANDOM"
    )
    model = get_peft_model(causal("llama"), config)
    passes = Passes(model)
    step = step_of(passes)
    batch = step.forget
    found = step.answers(batch)
    whole = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits[:, 3:]
    at = (batch.labels[:, 1:] != -100).nonzero()
    assert torch.equal(found.logits, whole[at[:, 0], at[:, 1]])
    fresh = Passes(tuned(zero=True)).now(batch)
    assert torch.equal(step.reference(batch).logits, fresh.logits)
    assert step.states(batch, 1).shape[:2] == batch.input_ids.shape
    assert passes.last == 1


def test_a_second_adapter_speaks_and_leaves_the_first_in_training() -> None:
    model = tuned()
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    model.add_adapter(REINFORCED, model.peft_config["default"])
    passes = Passes(model)
    step = step_of(passes)
    loss = step.answers(step.forget).nll.mean()
    said = step.reinforced(step.forget)
    assert torch.equal(said.logits, step.reference(step.forget).logits), "it is fresh: B is zero"
    assert {name for name, p in model.named_parameters() if p.requires_grad} == trained
    loss.backward()
    assert all(p.grad is not None for n, p in model.named_parameters() if n in trained)


def test_only_the_adapter_drops() -> None:
    model = tuned("gpt2", lora_dropout=0.5)
    model.train()
    passes = Passes(model)
    batch = pad(ROWS)
    with model.disable_adapter():
        assert torch.equal(passes.now(batch).logits, passes.now(batch).logits)
    assert not torch.equal(passes.now(batch).logits, passes.now(batch).logits)


@pytest.mark.parametrize("family", ("llama", "gpt2"))
def test_checkpointing_changes_no_gradient(family: str) -> None:
    found = []
    for checkpointing in (False, True):
        model = tuned(family)
        passes = Passes(model, checkpointing=checkpointing)
        calls: list[int] = []
        passes.layers[0].register_forward_pre_hook(lambda *_, calls=calls: calls.append(1))
        step = step_of(passes)
        loss = step.answers(step.forget).nll.mean() + step.states(step.forget, 1).square().mean()
        loss.backward()
        found.append([p.grad for p in model.parameters() if p.requires_grad])
        assert len(calls) == 1 + checkpointing, "computed once more for the gradient"
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
