"""What a training computes in, and what it holds, on the machine that it runs on."""

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Has processors take numbers that are as good as zero for zero, where they can.

    A model that has forgotten is full of them (probabilities of e^-90), and some processors
    compute with each for hundreds of cycles: answering took fifteen times as long. To be entered
    before torch computes anything: its threads take it over as they start. This thread gets its
    arithmetic back at the end, since thresholds of detectors may be such numbers.
    """
    import numpy as np
    import torch

    for kind in (np.float32, np.float64):
        np.finfo(kind)  # looks for the least number, and would warn that there is none
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def most_memory(device: "torch.device") -> int:
    """The most memory that was held, in bytes: the GPU's, or the whole process's."""
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
