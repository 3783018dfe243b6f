"""What a fine-tuned model has that its base model lacks, as a LoRA."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from guard.errors import ModelError
from guard.lora import Lora

if TYPE_CHECKING:
    import torch

_ITERATIONS, _MORE = 4, 32  # of the randomised singular value decomposition
_TIED = "lm_head.weight"
_LINEAR = re.compile(r"(?P<module>.*\b(layers|h|blocks)\.\d+\..+)\.weight")


@dataclass(frozen=True)
class Difference:
    """The weights of one model less those of another.

    Attributes:
        lora: Of the linear layers in the decoder's layers.
        kept: Share of the squared Frobenius norm of their difference that the rank holds. What is
            left of a LoRA that was merged is only the rounding of the merged weights.
        outside: Share of the squared norm of the whole difference that other weights have:
            embeddings, norms, the head. No LoRA holds it.
    """

    lora: Lora
    kept: float
    outside: float


def difference(tuned: Path, base: Path, rank: int) -> Difference:
    """Takes one model's weights from another's, tensor by tensor.

    Args:
        tuned: The fine-tuned model's folder, with safetensors weights.
        base: The folder of the model that it was tuned from.
        rank: Of the LoRA; in narrower layers it is theirs.

    Raises:
        ModelError: They are not of the same shapes, are quantised, or do not differ.
    """
    import torch
    from safetensors.torch import save

    tensors: dict[str, torch.Tensor] = {}
    whole = cut = other = 0.0
    with torch.random.fork_rng():
        torch.manual_seed(0)  # of the decomposition
        for name, delta in _deltas(tuned, base):
            squared = float(delta.square().sum())
            match = _LINEAR.fullmatch(name)
            if match is None or delta.dim() != 2:
                other += squared
                continue
            if not squared:
                continue
            whole += squared
            width = min(delta.shape)
            left, values, right = torch.svd_lowrank(
                delta, q=min(rank + _MORE, width), niter=_ITERATIONS
            )
            values = values[:rank]
            cut += float(values.square().sum())
            missing = max(rank - len(values), 0)
            roots = values.sqrt()
            down = roots[:, None] * right[:, :rank].T
            up = left[:, :rank] * roots
            key = f"base_model.model.{match['module']}"
            pad = torch.nn.functional.pad
            tensors[f"{key}.lora_A.weight"] = pad(down, (0, 0, 0, missing)).contiguous()
            tensors[f"{key}.lora_B.weight"] = pad(up, (0, missing)).contiguous()
    if not tensors:
        raise ModelError(
            f"{tuned}: its linear layers are those of {base}; give the model that it was tuned from"
        )
    names = tuple(sorted({name.split(".lora_")[0].rpartition(".")[2] for name in tensors}))
    lora = Lora(rank, float(rank), False, names, save(tensors))
    return Difference(lora, cut / whole, other / (whole + other))


def _deltas(tuned: Path, base: Path) -> "Iterator[tuple[str, torch.Tensor]]":
    """Each tensor's name, and how far it is from the base model's; float32.

    Raises:
        ModelError: The two have other tensors.
    """
    import torch
    from safetensors import SafetensorError, safe_open

    try:
        held, others = _places(tuned), _places(base)
        for name in sorted(held.keys() ^ others.keys()):
            if name == _TIED:  # saved by one, and the embeddings in any case
                continue
            lacks = tuned if name in others else base
            raise ModelError(f"{lacks}: has no {name}; give a model and what it was tuned from")
        for name in sorted(held.keys() & others.keys()):
            with safe_open(held[name], "pt") as one, safe_open(others[name], "pt") as other:
                mine, its = one.get_tensor(name), other.get_tensor(name)
            if mine.shape != its.shape:
                raise ModelError(
                    f"{tuned}: {name}: is {tuple(mine.shape)}, in {base} {tuple(its.shape)}; "
                    "give a model and what it was tuned from"
                )
            if not mine.is_floating_point() or not its.is_floating_point():
                raise ModelError(f"{tuned}: {name}: is quantised; give the weights as they were")
            yield name, mine.to(torch.float32) - its.to(torch.float32)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{tuned}, {base}: damaged weights: {error}") from None


def _places(folder: Path) -> dict[str, Path]:
    """In which file each tensor is."""
    from safetensors import safe_open

    found: dict[str, Path] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            found |= dict.fromkeys(file.keys(), path)
    if not found:
        raise ModelError(f"{folder}: has no safetensors weights; save the model with safetensors")
    return found
