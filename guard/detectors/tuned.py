"""A sentence encoder that was trained for a detector: when a policy is compiled, or ahead of it."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from guard.detectors.base import Encode, Parts, Vectors
from guard.errors import ModelError
from guard.identity import identify
from guard.layers import LayerEncoder

ABOUT = "guard_detector.json"
WEIGHTS = "encoder.safetensors"

Arrays = dict[str, npt.NDArray[np.float32]]


def tuned(encode: Encode, shared: Parts | None) -> Callable[[Sequence[str]], Vectors]:
    """Returns the encoder, or its tuned form where `shared` holds its arrays."""
    if shared is None:
        return encode
    layers = LayerEncoder(encode.folder, shared.arrays)

    def vectors(texts: Sequence[str]) -> Vectors:
        states = layers.states(texts)[:, -1]
        lengths = np.linalg.norm(states, axis=1, keepdims=True)
        return np.asarray(states / np.maximum(lengths, 1e-12), dtype=np.float32)

    return vectors


def read_tuned(folder: Path, kind: str, encoder: str) -> Arrays:
    """Reads what ``python -m adapters detector`` has made: LoRA arrays of a `LayerEncoder`.

    Args:
        folder: What the command made.
        kind: The detector kind that it must be for.
        encoder: The sentence-transformers folder of the encoder that it must be for.

    Raises:
        ModelError: It is not there, damaged, or made for something else: file, field and mend.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = folder / ABOUT
    try:
        fields: Any = json.loads(path.read_bytes())
    except OSError:
        raise ModelError(
            f"{path}: cannot be read; give what `python -m adapters detector` made"
        ) from None
    except ValueError:
        raise ModelError(f"{path}: not JSON; train it again") from None
    if not isinstance(fields, dict) or fields.get("kind") != kind:
        raise ModelError(f"{path}: kind: must be {kind}; train one for this detector")
    if fields.get("encoder") != identify(Path(encoder)):
        raise ModelError(f"{path}: encoder: is another than the policy's; train one for it")
    try:
        arrays = load_file(folder / WEIGHTS)
    except OSError:
        raise ModelError(f"{folder / WEIGHTS}: cannot be read; train it again") from None
    except (SafetensorError, ValueError):
        raise ModelError(f"{folder / WEIGHTS}: damaged; train it again") from None
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise ModelError(f"{folder / WEIGHTS}: holds numbers that are not finite; train it again")
    return arrays
