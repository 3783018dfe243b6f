"""A trained soft prompt: rows that stand before a flagged prompt, in no language.

SPUL (Bhaila et al., arXiv 2406.12038, section 4) trains a few embeddings such that a model that
reads them first answers as if it had never learned the forget set. They are trained with PEFT's
prompt tuning or P-tuning, which puts them before everything else, a first special token included;
so they are put there here.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from guard.decision import Finding
from guard.embeddings import EmbeddingRows
from guard.errors import InterventionError
from guard.interventions.base import Intervention, Material, Request, Rows, ServedModel
from guard.options import File, Strict
from guard.parts import Parts

_TENSORS = ("prompt_embeddings", "prompt")
_WEIGHTS = "adapter_model.safetensors"
_CONFIG = "adapter_config.json"
_TRAINED = ("PROMPT_TUNING", "P_TUNING")  # other kinds of PEFT put nothing, or more, at the front


class SoftPromptOptions(Strict):
    """Options of `SoftPrompt`.

    Attributes:
        path: The PEFT folder of a prompt tuning or P-tuning, or a safetensors file with one
            tensor, ``prompt_embeddings`` or ``prompt``, [n, d]; d is the width of the served
            model.
    """

    path: File


class SoftPrompt(Intervention):
    """Puts trained embeddings before a flagged prompt."""

    kind: ClassVar[str] = "soft_prompt"
    Options: ClassVar[type[Strict]] = SoftPromptOptions
    strictness: ClassVar[int] = 15

    def __init__(self, target: str, options: Any, parts: Parts) -> None:
        super().__init__(target, options, parts)
        self._rows: Rows = np.asarray(parts.arrays["prompt"], dtype=np.float32)

    @property
    def engine_args(self) -> Mapping[str, Any]:
        """Prompts that are partly embeddings."""
        return {"enable_prompt_embeds": True}

    @classmethod
    def fit(cls, material: Material, options: Any) -> Parts:
        """Reads the soft prompt; a bundle does not need the file any more.

        Raises:
            GuardError: It cannot be read, or was not made for the served model.
        """
        if material.served is None:
            raise InterventionError("needs the served model's folder")
        rows = read_soft_prompt(options.path)
        width = EmbeddingRows(material.served).dimensions
        if rows.shape[1] != width:
            raise InterventionError(
                f"{options.path}: rows of {rows.shape[1]} numbers, but the served model's "
                f"embeddings have {width}; train it for this model"
            )
        return Parts(arrays={"prompt": rows})

    def apply(self, request: Request, finding: Finding, model: ServedModel) -> Request:
        """Inserts the rows at the very start; once, however many targets share them."""
        if not request.view.parts:
            raise InterventionError("a flagged prompt holds nothing to put a soft prompt before")
        if self._is_in(request):
            return request
        # What stands for them among the tokens is in the prompt anyway, so that penalties on what
        # a prompt holds stay what they were.
        stand_in = request.token_ids[0]
        return request.insert(0, [stand_in] * len(self._rows), self._rows)

    def _is_in(self, request: Request) -> bool:
        held, count = request.embeddings, len(self._rows)
        return any(
            np.array_equal([held[at] for at in range(n, n + count) if at in held], self._rows)
            for n in held
        )


def read_soft_prompt(path: Path) -> Rows:
    """Reads a soft prompt, float32 [n, d].

    Args:
        path: See `SoftPromptOptions`.

    Raises:
        InterventionError: It is missing, damaged, of another kind, or no finite rows.
    """
    from safetensors import SafetensorError, safe_open

    file = path
    if path.is_dir():
        _check_folder(path)
        file = path / _WEIGHTS
    try:
        with safe_open(file, framework="pt") as tensors:
            names = list(tensors.keys())
            name = next((name for name in _TENSORS if name in names), None)
            if name is None or len(names) > 1:
                raise InterventionError(
                    f"{file}: must hold one tensor, {' or '.join(map(repr, _TENSORS))}; "
                    f"it holds {', '.join(map(repr, sorted(names)[:5])) or 'none'}"
                )
            tensor = tensors.get_tensor(name)
    except FileNotFoundError:
        raise InterventionError(f"{file}: no such file") from None
    except (OSError, SafetensorError):
        raise InterventionError(f"{file}: damaged, or not safetensors") from None
    if tensor.ndim != 2 or 0 in tensor.shape or not tensor.is_floating_point():
        raise InterventionError(
            f"{file}: {name!r} is {tensor.dtype} {list(tensor.shape)}; a soft prompt has rows and "
            "columns of floats"
        )
    rows: Rows = np.ascontiguousarray(tensor.float().numpy())
    if not np.isfinite(rows).all():
        raise InterventionError(f"{file}: {name!r} holds what is no finite number; train it again")
    return rows


def _check_folder(folder: Path) -> None:
    """Refuses a PEFT folder of another kind."""
    try:
        config = json.loads((folder / _CONFIG).read_text("utf-8"))
        kind = config["peft_type"]
    except (OSError, ValueError, KeyError, TypeError):
        raise InterventionError(f"{folder}/{_CONFIG}: missing, or says no 'peft_type'") from None
    if kind not in _TRAINED:
        raise InterventionError(
            f"{folder}/{_CONFIG}: 'peft_type' is {kind}; a soft prompt is {' or '.join(_TRAINED)}"
        )
