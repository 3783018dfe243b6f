"""A ladder: one file of LoRA weights, and a folder beside it for each scale that it is served at.

vLLM has one adapter per request and no scale of its own for it. But LoRA is alpha / r · B A, and
alpha stands in another file than A and B: so every step of a weight is an adapter whose alpha is
multiplied, and all of them link to one weights file. Alpha may be fractional or negative.
"""

import hashlib
import json
import math
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock

from guard.errors import ModelError
from guard.interventions.base import Adapter
from guard.lora import CONFIG, WEIGHTS, Lora
from guard.models import cache_folder

# O3's weight lies between sigmoid(-2) = 0.119 and sigmoid(8) = 0.9997 (`guard.detectors.mixture`):
# eighths begin and end where it does.
RUNGS = 8


class Ladder:
    """The adapters of one LoRA, at one scale or at the steps up to it.

    They lie in the user's cache. Any number of processes may make the same ladder at once: one
    writes it, whole or not at all, and each holds what it finds against the hash of the weights.
    The engine's processes must see the same folder.

    Args:
        lora: The LoRA.
        scale: Its factor at full weight; negative subtracts what it was trained for.
        soft: Whether there are steps; else every weight has the full scale.

    Raises:
        ModelError: The cache cannot be written.
    """

    def __init__(self, lora: Lora, scale: float, *, soft: bool = False) -> None:
        count = RUNGS if soft else 1
        scales = [scale * number / count for number in range(1, count + 1)]
        self.rungs = _lay({f"{scale:g}": lora.config(scale) for scale in scales}, lora.weights)

    def at(self, weight: float) -> Adapter:
        """Returns the rung nearest to a weight from 0 to 1: number ⌊weight · n + ½⌋ of n.

        The lowest rung is number 1: a flagged request is never left to the bare model.
        """
        count = len(self.rungs)
        return self.rungs[min(max(math.floor(weight * count + 0.5), 1), count) - 1]


def _lay(configs: Mapping[str, bytes], weights: bytes) -> tuple[Adapter, ...]:
    """Lays out the adapters, where they do not lie there already.

    Their names hold a digest of all that they are: what the engine remembers by name (an adapter
    that it loaded, a prefix that it read) is never met under another content.
    """
    digest = hashlib.sha256(weights).hexdigest()
    said = json.dumps([digest, {name: config.decode() for name, config in configs.items()}])
    key = hashlib.sha256(said.encode()).hexdigest()[:32]
    folder = cache_folder() / "ladders" / key
    try:
        if not _holds(folder, configs, digest):
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(folder.parent / f".{key}.lock"):
                if not _holds(folder, configs, digest):  # another process may have made it
                    _make(folder, configs, weights)
    except OSError as error:
        raise ModelError(
            f"{folder}: cannot be written: {error.strerror}; set GUARD_CACHE to a folder of yours"
        ) from None
    return tuple(Adapter(f"{key[:16]}@{name}", str(folder / name)) for name in configs)


def _holds(folder: Path, configs: Mapping[str, bytes], digest: str) -> bool:
    try:
        return hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest() == digest and all(
            (folder / name / CONFIG).read_bytes() == config
            and os.readlink(folder / name / WEIGHTS) == _LINK
            for name, config in configs.items()
        )
    except OSError:
        return False


def _make(folder: Path, configs: Mapping[str, bytes], weights: bytes) -> None:
    """Builds next to the folder and moves into place in one rename; the caller holds the lock."""
    scratch = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.tmp")
    try:
        # For its owner alone: an adapter that remembers a forget set is that forget set.
        scratch.mkdir(mode=0o700)
        (scratch / WEIGHTS).write_bytes(weights)
        for name, config in configs.items():
            (scratch / name).mkdir()
            (scratch / name / CONFIG).write_bytes(config)
            (scratch / name / WEIGHTS).symlink_to(_LINK)
        if folder.exists():
            # Renamed before it is deleted: nobody may find a folder that is half gone.
            folder.rename(scratch.with_suffix(".old.tmp"))
        scratch.rename(folder)
    finally:
        for left in folder.parent.glob(f".{folder.name}.*.tmp"):
            shutil.rmtree(left, ignore_errors=True)


_LINK = f"../{WEIGHTS}"
