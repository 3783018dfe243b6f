"""Every layer of the sentence encoder, for detectors that look at more than its last one.

What a text is about shows in middle layers too: O3 (ICLR 2025, arXiv 2407.10223, section 3.2) and
probing in general score all of them.
"""

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from guard.detectors.base import Vectors
from guard.errors import ModelError

if TYPE_CHECKING:
    import torch

MAX_TOKENS = 256  # windows are made to fit into it (`guard.view.TOKENS`)
_BATCH = 32

Lora = Mapping[str, npt.NDArray[Any]]


class LayerEncoder:
    """The transformer of a sentence-transformers folder, loaded when the first text is encoded.

    May be used from several threads.

    Args:
        folder: The model's folder.
        lora: Low-rank changes to its linear layers, merged in when it is loaded: for a layer named
            ``m``, ``m.A`` [rank, in] and ``m.B`` [out, rank], its weight then being W + BA (the
            scale is in B).
    """

    def __init__(self, folder: str, lora: Lora | None = None) -> None:
        self.folder = folder
        self._lora = dict(lora or {})
        self._loaded: tuple[Any, Any] | None = None
        self._lock = threading.Lock()

    def states(self, texts: Sequence[str]) -> Vectors:
        """Encodes texts; what is beyond 256 tokens is cut off.

        Returns:
            float32 [n, layers + 1, d]: the mean over each text's tokens, of the embeddings and then
            of each layer's output.

        Raises:
            ModelError: The folder holds no such model, or the LoRA arrays do not fit it.
        """
        import torch

        with self._lock:  # tokenizers hold their padding as state
            if self._loaded is None:
                self._loaded = load_transformer(self.folder, self._lora)
            tokenizer, model = self._loaded
            # A lone surrogate is no text to a tokenizer, and must not make it fail.
            clean = [text.encode("utf-8", "replace").decode() for text in texts]
            tokens = tokenizer(clean, truncation=True, max_length=MAX_TOKENS) if clean else {}
        lengths = [len(ids) for ids in tokens.get("input_ids", [])]
        config = model.config
        out = np.empty((len(clean), config.num_hidden_layers + 1, config.hidden_size), np.float32)
        order = np.argsort(lengths, kind="stable")  # little padding: alike lengths together
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            batch = {name: [values[row] for row in rows] for name, values in tokens.items()}
            with self._lock, torch.inference_mode():
                padded = tokenizer.pad(batch, return_tensors="pt")
                hidden = model(**padded, output_hidden_states=True).hidden_states
                out[rows] = mean_states(hidden, padded["attention_mask"]).numpy()
        return out


def mean_states(hidden: "Sequence[torch.Tensor]", attention_mask: "torch.Tensor") -> "torch.Tensor":
    """Pools hidden states over the tokens that are no padding.

    Args:
        hidden: Layers + 1 tensors [n, tokens, d].
        attention_mask: [n, tokens], 1 where there is a token.

    Returns:
        [n, layers + 1, d].
    """
    import torch

    mask = attention_mask.to(hidden[0].dtype)[:, :, None]
    return torch.stack([(layer * mask).sum(1) / mask.sum(1) for layer in hidden], dim=1)


def load_transformer(folder: str, lora: Lora | None = None) -> tuple[Any, Any]:
    """Loads a folder's tokenizer and transformer (no head), in float32 and ready for inference.

    Raises:
        ModelError: The folder holds no such model, or the LoRA arrays do not fit it.
    """
    import torch
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"encoder {folder}: cannot be loaded: {reason}") from None
    _merge(model, dict(lora or {}), folder)
    return tokenizer, model


def _merge(model: Any, lora: dict[str, npt.NDArray[Any]], folder: str) -> None:
    import torch

    layers = dict(model.named_modules())
    for name in sorted({key.rpartition(".")[0] for key in lora}):
        try:
            change = lora[f"{name}.B"].astype(np.float32) @ lora[f"{name}.A"].astype(np.float32)
            weight = layers[name].weight
            with torch.no_grad():
                if tuple(weight.shape) != change.shape:
                    raise ValueError(f"{change.shape} is not {tuple(weight.shape)}")
                weight += torch.from_numpy(change)
        except (AttributeError, KeyError, ValueError):
            raise ModelError(
                f"encoder {folder}: the LoRA arrays of {name!r} do not fit it; "
                "run `guard compile` again with this encoder"
            ) from None
