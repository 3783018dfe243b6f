"""What `similarity` says, without an encoder: for the seconds until the vectors are there.

A target must be protected before it has been encoded. The average of the encoder's input
embeddings (`guard.detectors.average`) stands for the sentence vector; the words are weighed as
`similarity` weighs them. It is calibrated like every stage, so that the rate asked for holds; what
it costs is paraphrases that share few words with the forget set.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from guard.detectors.average import Average, rarity
from guard.detectors.base import (
    DetectOptions,
    Encode,
    Examples,
    Fitted,
    Parts,
    Placed,
    Vectors,
)
from guard.detectors.similarity import Similarity

_WEIGHTS = "weights"


class Sketch(Similarity):
    """Flags a text that says and names what the forget set does."""

    kind: ClassVar[str] = "sketch"
    cost: ClassVar[int] = 2

    def __init__(
        self, targets: Mapping[str, Placed], encode: Encode, shared: Parts | None = None
    ) -> None:
        super().__init__(targets, _Averaged(encode, shared), shared)

    @classmethod
    def share(cls, examples: Mapping[str, Examples], options: Any, encode: Encode) -> Parts | None:
        """Weighs word pieces by their rarity in everyday prompts, and averages those prompts."""
        background = next(iter(examples.values())).background
        weights = Parts(
            arrays={_WEIGHTS: rarity(encode.folder, [row.prompt for row in background])}
        )
        parts = super().share(examples, options, _Averaged(encode, weights))
        return replace(parts, arrays={**parts.arrays, **weights.arrays}) if parts else None

    @classmethod
    def fit(
        cls, examples: Examples, options: DetectOptions, encode: Encode, shared: Parts | None = None
    ) -> Fitted | None:
        """Averages the rows, and scores each as if it had not been there."""
        if shared is None:
            return None
        return super().fit(examples, options, _Averaged(encode, shared), shared)


class _Averaged:
    """An encoder's input embeddings in place of the encoder."""

    def __init__(self, encode: Encode, shared: Parts | None) -> None:
        self._folder = encode.folder
        self._average = Average(self._folder, (shared or Parts()).arrays[_WEIGHTS])

    @property
    def folder(self) -> str:
        """The encoder's folder."""
        return self._folder

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Returns unit vectors, float32 [n, d]."""
        return self._average(texts)
