"""Small LoRA adapters in PEFT's form, made by hand for a model's folder."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import safe_open
from safetensors.torch import save_file

Tensors = dict[str, npt.NDArray[Any]]
PREFIX = "base_model.model."


def write_lora(
    folder: Path,
    served: Path,
    *,
    r: int = 4,
    modules: Sequence[str] = ("q_proj", "down_proj"),
    layers: Sequence[int] = (0, 1),
    strength: float = 0.1,
    seed: int = 0,
    **fields: Any,
) -> Path:
    """Writes a PEFT folder of random numbers for a model's own shapes; returns the folder."""
    tensors = lora_tensors(served, r, modules, layers, strength, seed)
    return write_folder(folder, tensors, {"r": r, "target_modules": list(modules), **fields})


def write_folder(
    folder: Path, tensors: Tensors, fields: Mapping[str, Any], dtype: str = "float32"
) -> Path:
    """Writes a PEFT folder with numbers of one type."""
    import torch

    config = {"peft_type": "LORA", "lora_alpha": 8, "bias": "none", "task_type": "CAUSAL_LM"}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(config | dict(fields)), "utf-8")
    typed = {n: torch.from_numpy(array).to(getattr(torch, dtype)) for n, array in tensors.items()}
    save_file(typed, folder / "adapter_model.safetensors", {"format": "pt", "note": "by hand"})
    return folder


def lora_tensors(
    served: Path,
    r: int = 4,
    modules: Sequence[str] = ("q_proj", "down_proj"),
    layers: Sequence[int] = (0, 1),
    strength: float = 0.1,
    seed: int = 0,
) -> Tensors:
    """Random A and B for some modules of a model, by name as PEFT has them."""
    random = np.random.default_rng(seed)
    tensors: Tensors = {}
    with safe_open(served / "model.safetensors", framework="np") as file:
        for name in sorted(file.keys()):
            module, _, part = name.rpartition(".")
            numbers = [int(piece) for piece in name.split(".") if piece.isdigit()]
            if part != "weight" or module.rpartition(".")[2] not in modules:
                continue
            if numbers and numbers[0] in layers:
                outputs, inputs = file.get_slice(name).get_shape()
                for side, shape in (("A", (r, inputs)), ("B", (outputs, r))):
                    values = random.normal(0.0, strength, shape).astype(np.float32)
                    tensors[f"{PREFIX}{module}.lora_{side}.weight"] = values
    return tensors
