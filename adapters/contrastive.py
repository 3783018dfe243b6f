"""Adapts an encoder to a forget set, so that its layers tell that set from everything else.

The objective is O3's (ICLR 2025, arXiv 2407.10223, section 3.2), and needs the forget set alone:
masked-language-model loss, plus the contrastive entropy between masked texts and the same texts
as the encoder saw them before training. LoRA is trained, nothing else; the prediction head is only
scaffolding and is thrown away.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from guard.errors import DataError
from guard.layers import MAX_TOKENS, LayerEncoder, load_transformer, mean_states

if TYPE_CHECKING:
    import torch

MASKED = 0.15  # share of tokens that are masked: BERT's, and O3's


def train_contrastive(
    folder: str,
    texts: Sequence[str],
    *,
    epochs: int = 10,
    rank: int = 8,
    contrast: float = 1.0,
    learning_rate: float = 2e-4,
    batch: int = 16,
    seed: int = 0,
    report: Callable[[int, float], None] = lambda epoch, loss: None,
) -> dict[str, npt.NDArray[np.float32]]:
    """Trains LoRA on texts; the same arguments give the same arrays on one kind of CPU.

    Args:
        folder: The sentence-transformers folder of the encoder.
        texts: The forget set.
        epochs: Passes over the texts.
        rank: Rank of LoRA, in all linear layers.
        contrast: Weight of the contrastive entropy; O3 has 1. A sentence encoder may collapse under
            it: where all masked texts settle on one and the same key, the entropy is small too.
        learning_rate: Of AdamW, falling linearly to zero.
        batch: Texts in a step.
        seed: Of masks, order, dropout and initial weights.
        report: Is told each epoch (from 1) and its mean loss.

    Returns:
        LoRA arrays as `guard.layers.LayerEncoder` takes them.

    Raises:
        DataError: There is no text.
        ModelError: The folder holds no encoder.
    """
    import torch
    from peft import LoraConfig, inject_adapter_in_model
    from transformers import DataCollatorForLanguageModeling, get_linear_schedule_with_warmup

    if not texts:
        raise DataError("forget: holds no text that an encoder could be adapted to")
    keys = torch.from_numpy(LayerEncoder(folder).states(texts))
    tokenizer, model = load_transformer(folder)
    encoded = tokenizer(list(texts), truncation=True, max_length=MAX_TOKENS)
    rows = [{name: encoded[name][n] for name in encoded} for n in range(len(texts))]
    collate = DataCollatorForLanguageModeling(tokenizer, mlm_probability=MASKED, seed=seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = LoraConfig(
            r=rank, lora_alpha=2 * rank, lora_dropout=0.05, target_modules="all-linear"
        )
        model = inject_adapter_in_model(config, model).train()
        predict = _head(model)
        trained = [p for part in (model, predict) for p in part.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=learning_rate)
        steps = epochs * -(-len(rows) // batch)
        schedule = get_linear_schedule_with_warmup(optimizer, steps // 10, steps)
        for epoch in range(1, epochs + 1):
            losses = []
            order = torch.randperm(len(rows)).tolist()
            for start in range(0, len(order), batch):
                inputs = collate([rows[n] for n in order[start : start + batch]])
                labels = inputs.pop("labels")
                hidden = model(**inputs, output_hidden_states=True).hidden_states
                states = mean_states(hidden, inputs["attention_mask"])
                masked = labels != -100
                loss = contrast * contrastive_entropy(states, keys)
                if masked.any():
                    guesses = predict(hidden[-1][masked])
                    loss = loss + torch.nn.functional.cross_entropy(guesses, labels[masked])
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
                schedule.step()
                losses.append(loss.item())
            report(epoch, float(np.mean(losses)))
    return _arrays(model)


def contrastive_entropy(states: "torch.Tensor", keys: "torch.Tensor") -> "torch.Tensor":
    """How undecided masked texts are about which text they were.

    Per layer, the entropy of softmax(z·kᵀ) over the keys; O3 sums the layers.

    Args:
        states: Masked texts [n, layers, d].
        keys: What the frozen encoder makes of the unmasked ones [m, layers, d].

    Returns:
        A scalar in nats: mean over texts, sum over layers.
    """
    import torch

    shares = torch.einsum("nld,mld->nlm", states, keys).log_softmax(dim=2)
    return -(shares.exp() * shares).sum(dim=(1, 2)).mean()


def _head(model: Any) -> "torch.nn.Module":
    """A masked-LM head tied to the word embeddings; sentence encoders come without one."""
    from torch import nn

    words = model.get_input_embeddings().weight
    tied = nn.Linear(words.shape[1], words.shape[0])
    tied.weight = words  # frozen with the rest of the encoder
    nn.init.zeros_(tied.bias)
    dense = nn.Linear(model.config.hidden_size, words.shape[1])
    return nn.Sequential(dense, nn.GELU(), nn.LayerNorm(words.shape[1]), tied)


def _arrays(model: Any) -> dict[str, npt.NDArray[np.float32]]:
    arrays: dict[str, npt.NDArray[np.float32]] = {}
    for name, layer in model.named_modules():
        if not hasattr(layer, "lora_A"):
            continue
        (adapter,) = layer.lora_A
        up = layer.lora_B[adapter].weight.detach() * layer.scaling[adapter]
        if up.any():  # the pooler, say, has no part in the states and stays as it was
            arrays[f"{name}.A"] = layer.lora_A[adapter].weight.detach().numpy().copy()
            arrays[f"{name}.B"] = up.numpy().copy()
    return arrays
