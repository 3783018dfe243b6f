"""Out of the forget set's distribution, or in it: O3's detector (ICLR 2025, arXiv 2407.10223, 3.2).

An encoder is adapted to the forget set alone. In each of its layers a text x scores
s = -1/2 M²(x) + 1000 max cos(x, forget), M being the Mahalanobis distance to the forget set; a
linear one-class SVM weighs the layers. No row that is to be kept takes part in the fit: those only
set the threshold.

Three things differ from the paper, because they failed on a sentence encoder. Measured on TOFU,
forget10 held out by folds against questions of other authors, true positives at 1 % false ones:

* The one-class SVM sees *held-out* scores, from an origin that all of them exceed. From zero, its
  weights may all come out negative, and then what is far counts as near.
* Only the last two layers vote: 86 % without training, all layers 65 %.
* The contrastive loss weighs 0.01. With 1 all states are drawn together, and the last layer's AUC
  falls from 0.99 to 0.56 in ten epochs; with 0.01, five epochs of training find 88.5 %.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from guard.data import Row
from guard.detectors.base import (
    DetectOptions,
    Encode,
    Examples,
    Fitted,
    Parts,
    Placed,
    Vectors,
    Windowed,
)
from guard.detectors.mahalanobis import LayerDistribution
from guard.detectors.mixture import SoftWeight
from guard.detectors.tuned import read_tuned
from guard.errors import DataError
from guard.layers import LayerEncoder, Lora
from guard.options import File
from guard.view import Window

FOLDS = 5
LEAST = 4  # rows below which no covariance is worth the name

_LORA = "lora."


class Options(DetectOptions):
    """Options of `ood`.

    Attributes:
        encoder: A folder in which `python -m adapters detector ood` has left an encoder that is
            adapted to this target; `train` is not heeded then.
        train: Whether the encoder is adapted; without, fitting is one pass over the rows, and at
            run time all targets share one pass over a text that with it each makes by itself.
        epochs: Passes over the forget rows in training.
        rank: Rank of LoRA (O3: 8).
        contrast: Weight of the contrastive entropy beside the masked-LM loss. O3 has 1, for
            RoBERTa; a sentence encoder, whose sentences lie apart already, then minimises the
            entropy by drawing all of them together.
        nu: Share of forget rows that may fall behind the one-class boundary (O3: 0.01 on TOFU).
        layers: How many layers, from the last, vote; None for all, as in O3. Middle layers of a
            sentence encoder know everyday prompts well, but see sentence shape where neighbours
            differ by subject only.
        seed: Of training and of the folds.
    """

    encoder: File | None = None
    train: bool = True
    epochs: int = Field(default=5, ge=1, le=100)
    rank: int = Field(default=8, ge=1, le=256)
    contrast: float = Field(default=0.01, ge=0)
    nu: float = Field(default=0.01, gt=0, lt=1)
    layers: int | None = Field(default=2, ge=1)
    seed: int = Field(default=0, ge=0)


class Ood(Windowed):
    """Flags a text that a forget set's own distribution, layer by layer, would have brought forth.

    A score is a mean of the layers' scores that the one-class SVM weighs, in standard deviations
    of held-out forget rows; zero is its boundary.
    """

    kind: ClassVar[str] = "ood"
    Options: ClassVar[type[DetectOptions]] = Options
    cost: ClassVar[int] = 20

    def __init__(
        self, targets: Mapping[str, Placed], encode: Encode, shared: Parts | None = None
    ) -> None:
        super().__init__(targets, encode, shared)
        self._layers = {target: _layers(placed.parts) for target, placed in self.targets.items()}

    @classmethod
    def fit(
        cls, examples: Examples, options: Any, encode: Encode, shared: Parts | None = None
    ) -> Fitted | None:
        """Adapts the encoder and fits the statistics.

        Forget rows are scored held out, by folds: each by statistics of the other folds. The
        encoder is not trained again for each fold, so what it learnt of a row stays in that row's
        score; compare `train: false` where that matters. Kept rows take no part in any of it.

        Raises:
            DataError: There are forget rows, but too few.
        """
        rows = [row for row in examples.forget if not row.is_name]
        if not rows:
            return None
        if len(rows) < LEAST:
            raise DataError(
                f"forget: {len(rows)} rows have no distribution; give {LEAST} or more, "
                "or detect this target by 'similarity'"
            )
        lora: Lora = {}
        if options.encoder is not None:
            lora = read_tuned(options.encoder, cls.kind, encode.folder)
        elif options.train:
            lora = adapt(rows, options, encode.folder)
        encoder = LayerEncoder(encode.folder, lora)

        def states(texts: Sequence[str]) -> Vectors:
            return encoder.states(texts)[:, -(options.layers or 0) :]

        texts = [(n, text) for n, row in enumerate(rows) for text in row.texts()]
        owner = np.array([n for n, _ in texts])
        vectors = states([text for _, text in texts])
        asked = vectors[np.flatnonzero(np.r_[True, owner[1:] != owner[:-1]])]
        layers = LayerDistribution.fit(vectors)
        held_out = _held_out(asked, vectors, owner, options.seed)
        weights, bias = _one_class(held_out, options.nu)
        positives = held_out @ weights + bias
        seen = layers.scores(asked) @ weights + bias
        kept = states([row.prompt for row in (*examples.retain, *examples.background)])
        others = layers.scores(kept) @ weights + bias
        parts = Parts(
            {
                "weights": weights.tolist(),
                "bias": bias,
                "mixture": SoftWeight.fit(seen.tolist(), positives.tolist()).to_dict(),
            },
            vars(layers) | {_LORA + name: array for name, array in lora.items()},
        )
        split = len(examples.retain)
        return Fitted(parts, positives.tolist(), others[:split].tolist(), others[split:].tolist())

    def window_scores(
        self, windows: Sequence[Window], targets: frozenset[str]
    ) -> list[dict[str, float]]:
        """Scores every window for every target asked for."""
        texts = [window.text for window in windows]
        passes: dict[int, Vectors] = {}  # by encoder: targets that adapted none share one
        scores: list[dict[str, float]] = [{} for _ in windows]
        for target in sorted(targets & self.targets.keys()) if texts else ():
            encoder = self._encoders[target]
            if id(encoder) not in passes:
                passes[id(encoder)] = encoder.states(texts)
            data = self.targets[target].parts.data
            states = passes[id(encoder)][:, -len(data["weights"]) :]
            values = self._layers[target].scores(states) @ data["weights"] + data["bias"]
            for score, value in zip(scores, values, strict=True):
                score[target] = float(value)
        return scores

    def weight(self, target: str, score: float) -> float:
        """How much to intervene at this score, in (0, 1)."""
        return soft_weight(self.targets[target].parts)(score)

    @cached_property
    def _encoders(self) -> dict[str, LayerEncoder]:
        folder = self.encode.folder
        frozen = LayerEncoder(folder)
        found = {}
        for target, placed in self.targets.items():
            arrays = placed.parts.arrays
            lora = {n.removeprefix(_LORA): a for n, a in arrays.items() if n.startswith(_LORA)}
            found[target] = LayerEncoder(folder, lora) if lora else frozen
        return found


def soft_weight(parts: Parts) -> SoftWeight:
    """Returns the soft weight that was fitted with these parts."""
    return SoftWeight.from_dict(parts.data["mixture"])


def adapt(rows: Sequence[Row], options: Any, folder: str) -> dict[str, npt.NDArray[np.float32]]:
    """Adapts an encoder's folder to forget rows; returns what `guard.layers.LayerEncoder` takes."""
    from adapters.contrastive import train_contrastive

    return train_contrastive(
        folder,
        [row.prompt for row in rows],
        epochs=options.epochs,
        rank=options.rank,
        contrast=options.contrast,
        seed=options.seed,
    )


def _held_out(
    asked: Vectors, vectors: Vectors, owner: npt.NDArray[np.int64], seed: int
) -> npt.NDArray[np.float64]:
    """Layer scores of each row [rows, layers] by statistics of all texts of other folds."""
    fold = np.random.default_rng(seed).permutation(len(asked)) % min(FOLDS, len(asked))
    out = np.empty(asked.shape[:2])
    for number in range(int(fold.max()) + 1):
        layers = LayerDistribution.fit(vectors[fold[owner] != number])
        out[fold == number] = layers.scores(asked[fold == number])
    return out


def _one_class(scores: npt.NDArray[np.float64], nu: float) -> tuple[npt.NDArray[np.float64], float]:
    """Weights [layers] and bias of the linear one-class SVM over layer scores [n, layers].

    It parts the scores from an origin, so where that lies decides. From below all scores every
    weight is positive; and all layers keep one scale, since those that tell more spread more.
    """
    from sklearn.svm import OneClassSVM

    scale = float(scores.std(axis=0).mean()) or 1.0
    origin = scores.min(axis=0) - scale
    machine = OneClassSVM(kernel="linear", nu=nu).fit((scores - origin) / scale)
    slopes = machine.coef_[0]
    weights = slopes / slopes.sum() / scale
    return weights, float(machine.intercept_[0] / slopes.sum() - origin @ weights)


def _layers(parts: Parts) -> LayerDistribution:
    named = fields(LayerDistribution)
    return LayerDistribution(**{field.name: parts.arrays[field.name] for field in named})
