"""Fine-tunes an encoder as a prompt classifier of all targets at once.

ECO (NeurIPS 2024, arXiv 2406.07933, section 3.1) fine-tunes one for its forget set: class-weighted
loss, cosine schedule, a tenth of it warm-up. Here it is LoRA that is trained, under multi-label
heads, and what is not to be flagged is mined: half of the negatives of an epoch are those that the
heads scored highest. Heads start from what was fitted to the frozen encoder, so that training does
not first undo what it knew (Kumar et al., ICLR 2022, arXiv 2202.10054). The heads are scaffolding:
the arrays of LoRA are all that comes out.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from guard.errors import DataError
from guard.layers import MAX_TOKENS, load_transformer, mean_states

if TYPE_CHECKING:
    import torch

WARMUP = 0.1  # share of the steps: ECO's
NEGATIVES = 2  # texts that are no head's positives, for each that is one, in an epoch
FEWEST = (
    128  # of them, where there are so many: a small forget set says too little of what it isn't
)

Array = npt.NDArray[np.float32]


def train_classifier(
    folder: str,
    texts: Sequence[str],
    labels: npt.NDArray[np.int8],
    heads: tuple[Array, Array],
    *,
    epochs: int = 2,
    rank: int = 8,
    learning_rate: float = 3e-4,
    batch: int = 32,
    seed: int = 0,
    report: Callable[[int, float], None] = lambda epoch, loss: None,
) -> dict[str, Array]:
    """Trains LoRA; the same arguments give the same arrays on one kind of CPU.

    Args:
        folder: The sentence-transformers folder of the encoder.
        texts: n texts, each of them once.
        labels: [n, heads]: 1 is a head's own text, 0 is not, -1 is not known.
        heads: Weights [heads, d] and biases [heads] that score unit vectors, in logits.
        epochs: Passes over the heads' own texts.
        rank: Rank of LoRA, in all linear layers.
        learning_rate: Of AdamW, at its highest.
        batch: Texts in a step.
        seed: Of order, dropout and initial weights.
        report: Is told each epoch (from 1) and its mean loss.

    Returns:
        LoRA arrays as `guard.layers.LayerEncoder` takes them.

    Raises:
        DataError: No text is any head's own, or none is not.
        ModelError: The folder holds no encoder.
    """
    import torch
    from peft import LoraConfig, inject_adapter_in_model
    from torch.nn import functional
    from transformers import get_cosine_schedule_with_warmup

    mine = (labels == 1).any(axis=1)
    if not mine.any() or mine.all():
        raise DataError("forget and retain: a classifier needs texts to flag and texts not to flag")
    tokenizer, model = load_transformer(folder)
    encoded = tokenizer(list(texts), truncation=True, max_length=MAX_TOKENS)
    rows = [{name: encoded[name][n] for name in encoded} for n in range(len(texts))]
    hardness = np.full(len(texts), -np.inf, dtype=np.float32)
    order = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = LoraConfig(
            r=rank, lora_alpha=2 * rank, lora_dropout=0.05, target_modules="all-linear"
        )
        model = inject_adapter_in_model(config, model).train()
        weight, bias = (torch.nn.Parameter(torch.from_numpy(array.copy())) for array in heads)
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW([*trained, weight, bias], lr=learning_rate)
        steps = epochs * -(-len(sample(mine, hardness, order)) // batch)
        schedule = get_cosine_schedule_with_warmup(optimizer, int(WARMUP * steps), steps)
        for epoch in range(1, epochs + 1):
            chosen = sample(mine, hardness, order)
            scale = class_weights(labels[chosen])
            losses = []
            for at in range(0, len(chosen), batch):
                some = chosen[at : at + batch]
                inputs = tokenizer.pad([rows[n] for n in some], return_tensors="pt")
                hidden = model(**inputs, output_hidden_states=True).hidden_states[-1:]
                states = mean_states(hidden, inputs["attention_mask"])[:, 0]
                logits = functional.normalize(states) @ weight.T + bias
                wanted = torch.from_numpy(labels[some])
                loss = functional.binary_cross_entropy_with_logits(
                    logits,
                    wanted.clamp(min=0).float(),
                    weight=torch.from_numpy(scale[at : at + batch]),
                )
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
                losses.append(loss.item())
                wrong = logits.detach().masked_fill(wanted != 0, -torch.inf)
                hardness[some] = wrong.amax(dim=1).numpy()
            report(epoch, float(np.mean(losses)))
    return lora_arrays(model)


def sample(
    mine: npt.NDArray[np.bool_], hardness: Array, random: np.random.Generator
) -> npt.NDArray[np.intp]:
    """Chooses an epoch's texts: all that are a head's own, and of the others half the hardest.

    Args:
        mine: [n], whether a text is any head's own.
        hardness: [n], the highest logit that a text had and should not have; -inf if never seen.
        random: Chooses the other half, and the order.

    Returns:
        Numbers of texts, shuffled, none twice.
    """
    others = random.permutation(np.flatnonzero(~mine))
    count = min(len(others), max(NEGATIVES * int(mine.sum()), FEWEST))
    others = others[np.argsort(-hardness[others], kind="stable")]  # unseen ones stay shuffled
    hardest, rest = others[: count // 2], others[count // 2 :]
    drawn = random.permutation(rest)[: count - len(hardest)]
    return random.permutation(np.concatenate([np.flatnonzero(mine), hardest, drawn]))


def class_weights(labels: npt.NDArray[np.int8]) -> Array:
    """Weighs labels so that a head's own texts weigh as much, together, as those that are not.

    Args:
        labels: [n, heads], 1, 0 or -1 (not known).

    Returns:
        [n, heads]; not known is 0, and where a head has texts of both kinds its mean is 1.
    """
    weights = np.zeros(labels.shape, dtype=np.float32)
    for kind in (0, 1):
        known = labels == kind
        weights += known * (len(labels) / (2 * np.maximum(known.sum(axis=0), 1)))
    return weights.astype(np.float32)


def lora_arrays(model: "torch.nn.Module") -> dict[str, Array]:
    """Reads LoRA off a model, its scale multiplied into B, for `guard.layers.LayerEncoder`."""
    arrays: dict[str, Array] = {}
    for name, layer in model.named_modules():
        if not hasattr(layer, "lora_A"):
            continue
        lora: Any = layer
        (adapter,) = lora.lora_A
        up = lora.lora_B[adapter].weight.detach() * lora.scaling[adapter]
        if up.any():  # the pooler, say, has no part in the states and stays as it was
            arrays[f"{name}.A"] = lora.lora_A[adapter].weight.detach().numpy().copy()
            arrays[f"{name}.B"] = up.numpy().copy()
    return arrays
