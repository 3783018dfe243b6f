"""The sentence encoder that detectors share."""

import logging
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from guard.detectors.base import Vectors
from guard.errors import ModelError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


_MANY = 500  # texts, for which a person likes to see how far it has come


class Encoder:
    """A sentence-transformers model, loaded when the first text is encoded.

    Args:
        folder: The model's folder or Hugging Face id.
        device: Where it runs; the CPU by default, since the accelerator is the engine's.
    """

    def __init__(self, folder: str, device: str = "cpu") -> None:
        self.folder = folder
        self.device = device
        self._model: SentenceTransformer | None = None
        self._lock = threading.Lock()

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Encodes texts as unit vectors, float32 [n, dimensions]."""
        model = self._load()
        # A lone surrogate is no text to a tokenizer, and must not make it fail.
        clean = [text.encode("utf-8", "replace").decode() for text in texts]
        vectors = model.encode(
            clean,
            batch_size=32,
            normalize_embeddings=True,
            convert_to_numpy=True,
            show_progress_bar=len(clean) >= _MANY and sys.stderr.isatty(),
        )
        return np.ascontiguousarray(vectors, dtype=np.float32)

    def load(self) -> None:
        """Loads the model now, so that no request has to wait for it."""
        self(["warm"])

    def _load(self) -> "SentenceTransformer":
        with self._lock:
            if self._model is None:
                from sentence_transformers import SentenceTransformer
                from transformers.utils.logging import disable_progress_bar

                disable_progress_bar()  # a bar for a tenth of a second, amid our output
                logging.getLogger("sentence_transformers").setLevel(logging.ERROR)  # and a notice
                try:
                    self._model = SentenceTransformer(self.folder, device=self.device)
                except (OSError, ValueError) as error:
                    reason = str(error).splitlines()[0]
                    raise ModelError(f"encoder {self.folder}: cannot be loaded: {reason}") from None
            return self._model
