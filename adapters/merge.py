"""One adapter of several: their mean, or any sum of them, at a rank that can be served.

What an adapter learned of its rows is much the same whatever the seed; what chance put into it is
not, and averages out. And task vectors are added and subtracted (Ilharco et al., arXiv 2212.04089):
what two have in common, their difference lacks.
"""

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.folder import check, write
from adapters.registry import digest
from guard.errors import DataError, ModelError
from guard.identity import model_folder
from guard.lora import CONFIG, WEIGHTS, Lora, read_lora
from guard.models import resolve

if TYPE_CHECKING:
    import torch

ABOUT = "merge.json"
HELP = "several adapters as one: their mean, or a sum"
DESCRIPTION = """\
Make one adapter of several: their mean, or, with --weights, any sum of them.

examples:
  python -m adapters merge one two three --model SERVED --out mean
  python -m adapters merge memory manner --weights 1 -1 --model SERVED --out difference --rank 64

A sum of adapters of rank r has a higher rank; it is cut to --rank by its singular values, and what
is left of it is printed, and kept in merge.json.
"""


@dataclass(frozen=True)
class Merged:
    """What came of it.

    Attributes:
        folder: The PEFT folder.
        rank: Of the LoRA.
        kept: Share of the sum's squared Frobenius norm that the rank holds.
        length: Norm of the sum, by the sum of the norms: 1 where all point the same way.
    """

    folder: Path
    rank: int
    kept: float
    length: float


def merge(
    adapters: Sequence[Path],
    model: str,
    out: Path,
    *,
    weights: Sequence[float] = (),
    rank: int | None = None,
) -> Merged:
    """Makes the sum of adapters.

    Args:
        adapters: PEFT folders of plain LoRAs.
        model: The model that they are for: a Hugging Face id or folder, or a built-in.
        out: The PEFT folder to make.
        weights: What each is multiplied by; their mean by default.
        rank: Of the LoRA; that of the first by default.

    Raises:
        GuardError: There are fewer than two, one does not fit the model, or `out` is in the way;
            nothing is written.
    """
    if len(adapters) < 2:
        raise DataError("give two adapters or more")
    weights = weights or [1 / len(adapters)] * len(adapters)
    if len(weights) != len(adapters):
        raise DataError(f"--weights: give {len(adapters)}, one for each adapter")
    if not all(weight and math.isfinite(weight) for weight in weights):
        raise DataError("--weights: give numbers other than 0")
    if rank is not None and rank < 1:
        raise DataError("--rank: give 1 or more")
    check(out)
    served = model_folder(resolve(model))
    loras = [read_lora(adapter, served) for adapter in adapters]
    hashes = [digest(adapter) for adapter in adapters]
    if len(set(hashes)) < len(hashes):
        raise DataError("the same adapter is given twice; train each with another seed")
    wanted = rank or loras[0].r
    found: list[Merged] = []

    def fill(temp: Path) -> None:
        kept, length = write_sum(temp, loras, weights, wanted)
        read_lora(temp, served)  # what cannot be served is not handed out
        found.append(Merged(out, wanted, kept, length))
        said = {"merged": dict(zip(hashes, weights, strict=True)), "rank": wanted, "kept": kept}
        (temp / ABOUT).write_text(json.dumps(said, indent=1) + "\n", "utf-8")

    write(out, fill)
    return found[0]


def write_sum(
    folder: Path, loras: Sequence[Lora], weights: Sequence[float], rank: int
) -> tuple[float, float]:
    """Writes a sum of adapters as a PEFT folder.

    Args:
        folder: It is there.
        loras: What is added up.
        weights: What each is multiplied by.
        rank: To which the sum is cut.

    Returns:
        `Merged.kept` and `Merged.length`.

    Raises:
        ModelError: Nothing is left.
    """
    import torch
    from safetensors.torch import load, save_file

    held = [load(lora.weights) for lora in loras]
    tensors: dict[str, torch.Tensor] = {}
    norms = torch.zeros(len(loras), dtype=torch.float64)
    whole = cut = 0.0
    for module in sorted({name for some in held for name in _modules(some)}):
        a_name, b_name = (f"{module}.lora_{side}.weight" for side in "AB")
        downs, ups = [], []
        for number, (lora, weight, some) in enumerate(zip(loras, weights, held, strict=True)):
            if a_name not in some:
                continue  # it leaves this module alone
            factor = weight * lora.alpha / (lora.r**0.5 if lora.rslora else lora.r)
            down, up = some[a_name].double(), some[b_name].double() * factor
            norms[number] += ((up.T @ up) * (down @ down.T)).sum()  # |up @ down|²
            downs.append(down)
            ups.append(up)
        # The product's singular values are those of a square as wide as the ranks together.
        q_up, r_up = torch.linalg.qr(torch.cat(ups, 1))
        q_down, r_down = torch.linalg.qr(torch.cat(downs).T)
        left, values, right = torch.linalg.svd(r_up @ r_down.T, full_matrices=False)
        whole += float(values.square().sum())
        cut += float(values[:rank].square().sum())
        roots = values[:rank].sqrt()
        missing = max(rank - len(values), 0)  # a small module has fewer
        sides: dict[str, Any] = {
            a_name: roots[:, None] * (right[:rank] @ q_down.T),
            b_name: (q_up @ left[:, :rank]) * roots,
        }
        pads = {a_name: (0, 0, 0, missing), b_name: (0, missing)}
        for name, side in sides.items():
            padded = torch.nn.functional.pad(side, pads[name])
            tensors[name] = padded.float().contiguous()
    length = whole**0.5 / float(norms.sqrt().sum())
    if length < 1e-6:  # rounding is left
        raise ModelError("the adapters cancel each other out; give some that were trained alike")
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})
    names = tuple(sorted({module for lora in loras for module in lora.modules}))
    (folder / CONFIG).write_bytes(Lora(rank, float(rank), False, names, b"").config(1.0))
    return cut / whole, length


def _modules(tensors: "dict[str, torch.Tensor]") -> Iterator[str]:
    for name in tensors:
        if name.endswith(".lora_A.weight"):
            yield name.removesuffix(".lora_A.weight")


def options(parser: argparse.ArgumentParser) -> None:
    """Adds what this command takes."""
    parser.add_argument("adapter", type=Path, nargs="+", help="a PEFT folder")
    parser.add_argument("--model", required=True, help="whose they are: an id, folder, built-in")
    parser.add_argument("--out", required=True, type=Path, help="the PEFT folder to make")
    parser.add_argument(
        "--weights", type=float, nargs="+", metavar="W", help="of each; all alike by default"
    )
    parser.add_argument("--rank", type=int, help="of what is made; that of the first by default")


def run(args: argparse.Namespace) -> int:
    """Merges and prints; returns the exit status."""
    made = merge(args.adapter, args.model, args.out, weights=args.weights or (), rank=args.rank)
    print(made.folder)
    print(f"rank {made.rank}; it holds {made.kept:.1%} of the sum, squared")
    print(f"the sum is {made.length:.2f} as long as all of them laid end to end")
    return 0
