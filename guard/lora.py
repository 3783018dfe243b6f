"""A LoRA adapter in PEFT's form, read strictly.

What an engine passes over in silence in an adapter (a module it lacks, weights that are kept
beside the low-rank ones) makes another model of it than was tried. So whatever is not plain LoRA
of linear layers, or does not fit the served model, is refused when the policy is compiled.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from guard.errors import ModelError

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"

# What only tells how, from what and for what an adapter was trained. Any other field that is set
# and is not read below changes what the adapter computes, or may.
_TRAINING = frozenset(
    {
        *("auto_mapping", "base_model_name_or_path", "corda_config", "eva_config"),
        *("exclude_modules", "inference_mode", "layers_pattern", "layers_to_transform"),
        *("loftq_config", "lora_dropout", "lora_ga_config", "megatron_core", "peft_version"),
        *("qalora_group_size", "revision", "runtime_config", "target_modules", "task_type"),
    }
)
_READ = frozenset({"bias", "init_lora_weights", "lora_alpha", "peft_type", "r", "use_rslora"})
# Ways to begin training that leave the base model as it is; others (PiSSA, OLoRA, …) change it.
_STARTS = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")
_TENSOR = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight")


@dataclass(frozen=True)
class Lora:
    """A LoRA: to the output of each of its modules it adds alpha / r · B A x.

    Attributes:
        r: Its rank.
        alpha: Its factor; any number, a negative one subtracts.
        rslora: Whether the root of r divides instead of r (arXiv 2312.03732).
        modules: Names of the modules that it adapts, without the path to them.
        weights: Its tensors, as the bytes of a safetensors file.
    """

    r: int
    alpha: float
    rslora: bool
    modules: tuple[str, ...]
    weights: bytes

    def config(self, scale: float) -> bytes:
        """Returns the ``adapter_config.json`` of this adapter times a number."""
        fields = {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": None,
            "r": self.r,
            "lora_alpha": self.alpha * scale,
            "use_rslora": self.rslora,
            "target_modules": list(self.modules),
            "bias": "none",
            "inference_mode": True,
        }
        return json.dumps(fields, indent=1).encode()


def read_lora(folder: Path, served: Path) -> Lora:
    """Reads a PEFT folder.

    Args:
        folder: It holds ``adapter_config.json`` and ``adapter_model.safetensors``.
        served: The served model's folder, with safetensors weights.

    Raises:
        ModelError: It is not there, not plain LoRA, damaged, never trained, or was made for another
            model: file, field and mend in one line.
    """
    path = folder / CONFIG
    fields = _config(path)
    r, alpha = fields.get("r"), fields.get("lora_alpha")
    if not isinstance(r, int) or isinstance(r, bool) or r < 1:
        raise ModelError(f"{path}: r: must be a whole number from 1 on")
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not math.isfinite(alpha):
        raise ModelError(f"{path}: lora_alpha: must be a number")
    if not alpha:
        raise ModelError(f"{path}: lora_alpha: is 0, so that the adapter does nothing")
    path = folder / WEIGHTS
    tensors, weights = _tensors(path)
    modules = _pairs(tensors, r, path)
    _fit(modules, served, path)
    names = tuple(sorted({name.rpartition(".")[2] for name in modules}))
    return Lora(r, float(alpha), bool(fields.get("use_rslora")), names, weights)


def _config(path: Path) -> dict[str, Any]:
    if not path.parent.is_dir():
        raise ModelError(f"{path.parent}: no such folder; give a PEFT adapter's")
    try:
        fields = json.loads(path.read_bytes())
    except OSError:
        raise ModelError(f"{path}: cannot be read; give the folder that PEFT saved") from None
    except (ValueError, RecursionError):
        raise ModelError(f"{path}: not JSON; save the adapter again") from None
    if not isinstance(fields, dict):
        raise ModelError(f"{path}: not a JSON object; save the adapter again")
    if fields.get("peft_type") != "LORA":
        raise ModelError(f"{path}: peft_type: must be LORA; only LoRA can be served per request")
    if fields.get("bias", "none") != "none":
        raise ModelError(f"{path}: bias: must be none; train without biases")
    start = fields.get("init_lora_weights", True)
    if isinstance(start, str) and start.lower() not in _STARTS:
        raise ModelError(
            f"{path}: init_lora_weights: this start changes the base model; convert the adapter "
            "with PEFT's path_initial_model_for_weight_conversion"
        )
    for name, value in fields.items():
        if value and name not in _TRAINING and name not in _READ:
            raise ModelError(f"{path}: {name}: cannot be served; train plain LoRA without it")
    return fields


@dataclass(frozen=True)
class _Tensor:
    dtype: str
    shape: tuple[int, ...]
    data: memoryview


def _tensors(path: Path) -> tuple[dict[str, _Tensor], bytes]:
    """The tensors of a safetensors file, and the file without whatever else it says."""
    from safetensors import SafetensorError, deserialize

    if not path.is_file():
        pickled = path.with_suffix(".bin").is_file() or path.with_suffix(".pt").is_file()
        why = "its weights are pickled, and loading those runs code" if pickled else "missing"
        raise ModelError(f"{path}: {why}; save the adapter with safetensors")
    try:
        raw = path.read_bytes()
        deserialize(raw)  # checks that every tensor lies where the header says
        length = int.from_bytes(raw[:8], "little")
        header = json.loads(raw[8 : 8 + length])
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from None
    except (SafetensorError, ValueError):
        raise ModelError(f"{path}: damaged, or not safetensors; save the adapter again") from None
    header.pop("__metadata__", None)
    data = memoryview(raw)[8 + length :]
    tensors = {
        name: _Tensor(entry["dtype"], tuple(entry["shape"]), data[slice(*entry["data_offsets"])])
        for name, entry in header.items()
    }
    plain = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    plain += b" " * (-len(plain) % 8)
    return tensors, len(plain).to_bytes(8, "little") + plain + bytes(data)


def _pairs(tensors: Mapping[str, _Tensor], r: int, path: Path) -> dict[str, tuple[int, int]]:
    """For each adapted module, how many numbers come out of it and go into it."""
    sides: dict[str, dict[str, _Tensor]] = {}
    for name, tensor in tensors.items():
        match = _TENSOR.fullmatch(name)
        if match is None or len(tensor.shape) != 2:
            raise ModelError(f"{path}: {name}: is no LoRA of a linear layer; train those alone")
        if not _finite(tensor, f"{path}: {name}"):
            raise ModelError(f"{path}: {name}: holds numbers that are not finite; train it again")
        sides.setdefault(match["module"], {})[match["side"]] = tensor
    if not sides:
        raise ModelError(f"{path}: holds no tensor; save the adapter again")
    found = {}
    for module, pair in sides.items():
        if len(pair) < 2:
            raise ModelError(f"{path}: {module}: has only lora_{min(pair)}; save the adapter again")
        (low, inputs), (outputs, high) = pair["A"].shape, pair["B"].shape
        if not low == high == r:
            raise ModelError(f"{path}: {module}: is of rank {low} and {high}, {CONFIG} says r {r}")
        found[module] = outputs, inputs
    if not any(np.frombuffer(pair["B"].data, np.uint8).any() for pair in sides.values()):
        raise ModelError(f"{path}: every lora_B is zero, so that it does nothing; train it")
    return found


def _finite(tensor: _Tensor, where: str) -> bool:
    if tensor.dtype == "BF16":  # which numpy lacks: a float32 cut in half, exponent in front
        bits = np.frombuffer(tensor.data, np.uint16)
        return bool(((bits & 0x7F80) != 0x7F80).all())
    kinds = {"F32": np.float32, "F16": np.float16}
    if tensor.dtype not in kinds:
        raise ModelError(f"{where}: is {tensor.dtype}; save it as BF16, F16 or F32")
    return bool(np.isfinite(np.frombuffer(tensor.data, kinds[tensor.dtype])).all())


def _fit(modules: Mapping[str, tuple[int, int]], served: Path, path: Path) -> None:
    """Refuses an adapter with modules that the served model lacks, or has in another shape."""
    held = _served(served)
    for module, shape in modules.items():
        own = held.get(module)
        if own is None:
            # Checkpoints of several parts have a path of their own to the language model's layers.
            tail = module[module.find("layers.") :]
            alike = [name for name in held if name.endswith(f".{tail}")]
            if len(alike) != 1:
                raise ModelError(
                    f"{path}: {module}: the served model {served} has no such module; "
                    "train the adapter on the model that is served"
                )
            own = held[alike[0]]
        if own and own != shape:
            raise ModelError(
                f"{path}: {module}: is made for {shape[0]} x {shape[1]}, the served model {served} "
                f"has {own[0]} x {own[1]}; train the adapter on the model that is served"
            )


def _served(folder: Path) -> dict[str, tuple[int, ...]]:
    """Module to its weight's shape; empty where the weight is packed (quantised)."""
    from safetensors import SafetensorError, safe_open

    found: dict[str, tuple[int, ...]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="np") as file:
                for name in file.keys():  # noqa: SIM118  (it is no mapping)
                    module, _, part = name.rpartition(".")
                    piece = file.get_slice(name)
                    if part == "weight" and piece.get_dtype().startswith(("F", "BF")):
                        found[module] = tuple(piece.get_shape())
                    else:
                        found.setdefault(module, ())
        except (OSError, SafetensorError):
            raise ModelError(
                f"{path}: damaged, or not safetensors; fetch the model again"
            ) from None
    if not found:
        raise ModelError(
            f"{folder}: has no safetensors weights to hold an adapter against; "
            "save the model with safetensors"
        )
    return found
