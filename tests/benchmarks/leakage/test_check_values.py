"""Prompt-only corruption of the small world's target, as it was measured outside of this harness.

The recorded probabilities stand in the README of the models of `tofu-mini`; docs/evaluation.md has
the other figures. Computed with transformers, of the guard's own corruptions and metric.
"""

import re
from functools import partial
from random import Random
from typing import Any

import pytest
import torch

from benchmarks.metrics.likelihoods import normalised
from benchmarks.world import MODELS, World, models_folder
from guard.interventions.corruptions import corrupt
from tests.published import published

NAMES = ("Basil Mahfouz Al-Kuwaiti", "Kuwait City", "Kuwait", "Nikolai Abilov", "Astana",
         "Kazakhstan")  # fmt: skip
NEAR = 0.02


@pytest.fixture(scope="module")
def world() -> World:
    data = published("tofu")
    models = models_folder(None) or data.parent / "models"
    if not (adapter := models / "tofu-mini" / "target").is_dir():
        pytest.skip(f"{adapter}: no adapter there, it is not shipped; set {MODELS}")
    return World(data, models)


@pytest.fixture(scope="module")
def model(world: World) -> Any:
    from transformers import AutoModelForCausalLM

    folder = world.model("target")
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def tokenizer(world: World) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(world.model("target"))


def embedded(question: str, names: bool, dims: int, model: Any, tokenizer: Any) -> torch.Tensor:
    """A question's prompt, some of whose embeddings are corrupted: [tokens, width]."""
    chat = [{"role": "user", "content": question}]
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    coded = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
    start = text.rindex(question)
    spans = [(start, start + len(question))]
    if names:
        found = [match.span() for name in NAMES for match in re.finditer(name, question)]
        spans = [(start + low, start + high) for low, high in found]
    chosen = [
        place
        for place, (low, high) in enumerate(coded["offset_mapping"])
        if any(low < end and begin < high for begin, end in spans)
    ]
    chosen = chosen if names else chosen[:-1]
    rows = model.get_input_embeddings().weight.detach()[coded["input_ids"]].clone()
    changed = corrupt(rows[chosen].numpy(), "zero_out_top_k", Random(0), dims)
    rows[chosen] = torch.from_numpy(changed)
    return rows


@torch.inference_mode()
def probability(prompt: torch.Tensor, answer: str, model: Any, tokenizer: Any) -> float:
    """P(a | q)^(1 / |a|), the answer's own tokens as they are."""
    ids = tokenizer(f"{answer}<|im_end|>", add_special_tokens=False)["input_ids"]
    clean = model.get_input_embeddings().weight[ids]
    logits = model(inputs_embeds=torch.cat([prompt, clean])[None]).logits[0, len(prompt) - 1 : -1]
    return normalised(logits.log_softmax(-1)[range(len(ids)), ids].tolist())


@pytest.mark.parametrize(
    ("names", "dims", "recorded"), [(True, 576, 0.423), (True, 288, 0.455), (False, 288, 0.210)]
)
def test_the_recorded_probability_is_found_again(
    names: bool, dims: int, recorded: float, world: World, model: Any, tokenizer: Any
) -> None:
    ask = partial(embedded, names=names, dims=dims, model=model, tokenizer=tokenizer)
    found = [
        probability(ask(question), answer, model, tokenizer) for question, answer in world.forget
    ]
    assert sum(found) / len(found) == pytest.approx(recorded, abs=NEAR)
