"""One adapter of several: their mean, at a rank that can be served.

What an adapter learned of its rows is much the same whatever the seed; what chance put into it is
not, and averages out. Task vectors that are negated gain by it most: what is subtracted beside the
memory is taken from everything else (NegMerge, arXiv 2410.05583, section 3).
"""

import argparse
import json
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
HELP = "the mean of several adapters, as one"
DESCRIPTION = """\
Take the mean of adapters that were trained alike with other seeds: what they have in common stays,
what chance put into each averages out. Most of all for memory adapters, before their scale is
chosen:

  python -m adapters memory --model BASE --forget F.jsonl --seed 0 --out memory0    # and 1, 2, 3
  python -m adapters merge memory0 memory1 memory2 memory3 --model SERVED --out memory

The mean of adapters of rank r has a higher rank; it is cut to --rank by its singular values, and
what is left of it is printed, and kept in merge.json.
"""


@dataclass(frozen=True)
class Merged:
    """What came of it.

    Attributes:
        folder: The PEFT folder.
        rank: Of the LoRA.
        kept: Share of the mean's squared Frobenius norm that the rank holds.
        shrunk: Norm of the mean, by the mean norm of those that it is of: what they have in common.
    """

    folder: Path
    rank: int
    kept: float
    shrunk: float


def merge(adapters: Sequence[Path], model: str, out: Path, rank: int | None = None) -> Merged:
    """Makes the mean of adapters.

    Args:
        adapters: PEFT folders of plain LoRAs.
        model: The model that they are for: a Hugging Face id or folder, or a built-in.
        out: The PEFT folder to make.
        rank: Of the LoRA; that of the first by default.

    Raises:
        GuardError: There are fewer than two, one does not fit the model, or `out` is in the way;
            nothing is written.
    """
    if len(adapters) < 2:
        raise DataError("give two adapters or more; the mean of one is itself")
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
        kept, shrunk = _fill(temp, loras, wanted)
        read_lora(temp, served)  # what cannot be served is not handed out
        found.append(Merged(out, wanted, kept, shrunk))
        said = {"merged": hashes, "rank": wanted, "kept": kept, "shrunk": shrunk}
        (temp / ABOUT).write_text(json.dumps(said, indent=1) + "\n", "utf-8")

    write(out, fill)
    return found[0]


def _fill(folder: Path, loras: Sequence[Lora], rank: int) -> tuple[float, float]:
    """Writes the mean as a PEFT folder; returns `Merged.kept` and `Merged.shrunk`."""
    import torch
    from safetensors.torch import load, save_file

    held = [load(lora.weights) for lora in loras]
    tensors: dict[str, torch.Tensor] = {}
    norms = torch.zeros(len(loras), dtype=torch.float64)
    whole = cut = 0.0
    for module in sorted({name for some in held for name in _modules(some)}):
        a_name, b_name = (f"{module}.lora_{side}.weight" for side in "AB")
        downs, ups = [], []
        for number, (lora, some) in enumerate(zip(loras, held, strict=True)):
            if a_name not in some:
                continue  # it leaves this module alone
            factor = lora.alpha / (lora.r**0.5 if lora.rslora else lora.r)
            down, up = some[a_name].double(), some[b_name].double() * factor
            norms[number] += ((up.T @ up) * (down @ down.T)).sum()  # |up @ down|²
            downs.append(down)
            ups.append(up / len(loras))
        # The product's singular values are those of a square as wide as the ranks together.
        q_up, r_up = torch.linalg.qr(torch.cat(ups, 1))
        q_down, r_down = torch.linalg.qr(torch.cat(downs).T)
        left, values, right = torch.linalg.svd(r_up @ r_down.T)
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
    shrunk = whole**0.5 / float(norms.sqrt().mean())
    if shrunk < 1e-6:  # rounding is left
        raise ModelError("the adapters cancel each other out; give some that were trained alike")
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})
    names = tuple(sorted({module for lora in loras for module in lora.modules}))
    (folder / CONFIG).write_bytes(Lora(rank, float(rank), False, names, b"").config(1.0))
    return cut / whole, shrunk


def _modules(tensors: "dict[str, torch.Tensor]") -> Iterator[str]:
    for name in tensors:
        if name.endswith(".lora_A.weight"):
            yield name.removesuffix(".lora_A.weight")


def options(parser: argparse.ArgumentParser) -> None:
    """Adds what this command takes."""
    parser.add_argument("adapter", type=Path, nargs="+", help="a PEFT folder")
    parser.add_argument("--model", required=True, help="whose they are: an id, folder, built-in")
    parser.add_argument("--out", required=True, type=Path, help="the PEFT folder to make")
    parser.add_argument("--rank", type=int, help="of what is made; that of the first by default")


def run(args: argparse.Namespace) -> int:
    """Merges and prints; returns the exit status."""
    made = merge(args.adapter, args.model, args.out, args.rank)
    print(made.folder)
    print(f"rank {made.rank}; it holds {made.kept:.1%} of the mean, squared")
    print(f"the mean is {made.shrunk:.2f} as long as those that it is of")
    return 0
