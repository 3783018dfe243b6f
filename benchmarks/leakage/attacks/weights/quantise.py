"""Rounding weights: small edits are rounded away (Zhang et al., ICLR 2025, 2410.16454)."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters import folder as folders
from benchmarks.leakage.attacks.weights.base import WeightAttack
from benchmarks.leakage.attacks.weights.saved import load, save
from guard.data import Row
from guard.errors import ModelError
from guard.lora import CONFIG, WEIGHTS

if TYPE_CHECKING:
    import torch

_GROUP = 128  # weights of a row that share a scale, at four bits


class Quantise(WeightAttack):
    """Rounds the weights of all linear layers but the head to the nearest of few levels.

    The levels are symmetric. At eight bits each row of a matrix has a scale, at four each 128
    weights of a row. What is written are the rounded weights in the type they had.

    Args:
        bits: Of a weight: 8 or 4.
    """

    def __init__(self, bits: int) -> None:
        self.name = f"quantise: int{bits}"
        self._bits = bits

    def model(self, model: Path, rows: Sequence[Row], out: Path, seed: int) -> Path:
        from transformers.pytorch_utils import Conv1D

        tokenizer, whole = load(model)
        for module in _linear(whole):
            weight = module.weight.data
            rounded = self._rounded(weight.T if isinstance(module, Conv1D) else weight)
            module.weight.data = rounded.T if isinstance(module, Conv1D) else rounded
        return save(whole, tokenizer, out)

    def adapter(
        self, model: Path, adapter: Path, rows: Sequence[Row], out: Path, seed: int
    ) -> Path:
        from safetensors import SafetensorError
        from safetensors.torch import load_file, save_file

        try:
            tensors = load_file(adapter / WEIGHTS)
            config = (adapter / CONFIG).read_bytes()
        except (OSError, SafetensorError):
            raise ModelError(f"{adapter}: no PEFT adapter; give the folder of one") from None
        made = {name: self._rounded(tensor) for name, tensor in tensors.items()}

        def fill(temp: Path) -> None:
            save_file(made, temp / WEIGHTS, {"format": "pt"})
            (temp / CONFIG).write_bytes(config)

        folders.write(out, fill)
        return out

    def _rounded(self, weight: "torch.Tensor") -> "torch.Tensor":
        return rounded(weight, self._bits, _GROUP if self._bits < 8 else None)


def rounded(weight: "torch.Tensor", bits: int, group: int | None) -> "torch.Tensor":
    """Rounds a matrix to the nearest of 2^bits - 1 levels, symmetric about 0.

    Args:
        weight: [rows, columns].
        bits: At least 2.
        group: Columns that share a scale; None is all of a row. The last group may be narrower.

    Returns:
        The rounded weights in their type, each off by at most half a step of its group's scale.
    """
    import torch

    most = 2 ** (bits - 1) - 1
    pieces = []
    for piece in torch.split(weight.detach().float(), group or weight.shape[1], dim=1):
        scale = piece.abs().amax(dim=1, keepdim=True).clamp_min(1e-12) / most
        pieces.append((piece / scale).round().clamp(-most, most) * scale)
    return torch.cat(pieces, dim=1).to(weight.dtype).contiguous()


def _linear(model: Any) -> list[Any]:
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    head = model.get_output_embeddings()
    kinds = nn.Linear | Conv1D
    return [m for m in model.modules() if isinstance(m, kinds) and m is not head]
