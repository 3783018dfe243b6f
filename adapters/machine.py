"""What a training computes in, and what it holds, on the machine that it runs on."""

import resource
import sys
from typing import TYPE_CHECKING

from adapters.settings import Settings

if TYPE_CHECKING:
    import torch


def arithmetic(settings: Settings, device: str) -> "torch.dtype":
    """What is computed in on a kind of device: float32 or bfloat16."""
    import torch

    if settings.dtype != "auto":
        return torch.bfloat16 if settings.dtype == "bfloat16" else torch.float32
    narrow = device == "cuda" and torch.cuda.is_bf16_supported()
    return torch.bfloat16 if narrow else torch.float32


def flush_denormals() -> None:
    """Has processors take numbers that are as good as zero for zero, where they can.

    A model that has forgotten is full of them (probabilities of e^-90), and some processors
    compute with each for hundreds of cycles: answering took sixty times as long, training up to ten
    times. To be called before torch computes anything: its threads take it over as they start.
    """
    import torch

    torch.set_flush_denormal(True)


def most_memory(device: "torch.device") -> int:
    """The most memory that was held, in bytes: the GPU's, or the whole process's."""
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
