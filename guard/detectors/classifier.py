"""A trained classifier of prompts: one matrix of heads over an encoder, tuned for it or not.

As ECO (arXiv 2406.07933, section 3.1) and GUARD (arXiv 2505.13312) do, a classifier is trained to
tell forget rows from the rest; class weights and hard negatives make up for how few they are. What
is different: a target has a head for each cluster of its forget set (a person, say), and scores its
highest. One line cannot fence off twenty people, twenty lines can. Heads of a target are
fitted to its own rows alone: another target never moves them, and is added without retraining.
"""

import hashlib
from collections.abc import Mapping, Sequence
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
from guard.detectors.heads import Heads, clusters, fit_heads, highest, log_odds
from guard.detectors.tuned import read_tuned, tuned
from guard.options import File
from guard.view import View, Window

FOLDS = 5
KEPT_OUT = 5  # one row of so many is kept from the tuned encoder, to calibrate with
ALIKE = 0.05  # cosine distance below which two prompts are one for holding out
SCRAP = 16  # a sentence with fewer characters says nothing of a subject


class ClassifierOptions(DetectOptions):
    """Options of `Classifier`.

    Attributes:
        tune: Whether the encoder is trained for the targets (minutes) or taken as it is (seconds).
        encoder: Instead, a folder in which `python -m adapters detector classifier` has left one
            that is trained; all targets share the first that is named.
        epochs: Passes of that training over the forget sets.
        rank: Rank of the LoRA that it trains.
        C: Inverse strength of the heads' regularisation (as scikit-learn calls it).
        seed: Of everything random.
    """

    tune: bool = False
    encoder: File | None = None
    epochs: int = Field(default=2, ge=1, le=100)
    rank: int = Field(default=8, ge=1, le=64)
    C: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    seed: int = Field(default=0, ge=0, lt=2**32)


class Classifier(Windowed):
    """Scores log-odds that a window is the target's, forget and other rows being equally likely.

    Raises:
        ValueError: The targets' heads do not fit one another, or a score is not finite.
    """

    kind: ClassVar[str] = "classifier"
    Options: ClassVar[type[DetectOptions]] = ClassifierOptions
    cost: ClassVar[int] = 20

    def __init__(
        self, targets: Mapping[str, Placed], encode: Encode, shared: Parts | None = None
    ) -> None:
        super().__init__(targets, encode, shared)
        self._embed = tuned(encode, shared)
        arrays = [placed.parts.arrays for placed in self.targets.values()]
        # Doubles, and rounded once multiplied: the order in which a matrix product sums depends on
        # its shape, and another target must not show in a target's scores.
        self._weights = np.concatenate([a["weights"] for a in arrays]).astype(np.float64)
        self._biases = np.concatenate([a["biases"] for a in arrays]).astype(np.float64)
        self._starts = np.cumsum([0, *(len(a["biases"]) for a in arrays)])[:-1]

    @classmethod
    def share(cls, examples: Mapping[str, Examples], options: Any, encode: Encode) -> Parts | None:
        """Tunes the encoder, if asked to, on four fifths of the rows of all targets."""
        if options.encoder is not None:
            return Parts(arrays=read_tuned(options.encoder, cls.kind, encode.folder))
        if not options.tune:
            return None
        from adapters.classifier import train_classifier

        known: dict[str, int] = {}  # text to its number
        sides: list[tuple[list[int], list[int]]] = []  # of each target, forget and other texts
        for one in examples.values():
            rows = _questions(one), (*one.retain, *one.background)
            texts = ([t for r in side if _trained(r) for t in _texts(r)] for side in rows)
            # In the order of their first mention, each once; what is ours is nobody else's.
            mine, rest = (dict.fromkeys(known.setdefault(t, len(known)) for t in s) for s in texts)
            sides.append((list(mine), [number for number in rest if number not in mine]))
        vectors = encode(list(known))
        fits = []
        everyone = [n for ours, _ in sides for n in ours]
        for ours, others in sides:
            if not ours or not others:
                continue
            numbers = clusters(vectors[ours], options.seed)
            weights, biases = fit_heads(vectors[ours], vectors[others], numbers, options.C)
            label = np.full((len(known), len(biases)), -1, dtype=np.int8)
            label[[*everyone, *others]] = 0
            label[ours] = -1  # of another cluster of this target: neither its own nor another's
            label[ours, numbers] = 1
            fits.append((label, weights, biases))
        if not fits:
            return None
        labels, *heads = zip(*fits, strict=True)
        lora = train_classifier(
            encode.folder,
            list(known),
            np.concatenate(labels, axis=1),
            (np.concatenate(heads[0]), np.concatenate(heads[1])),
            epochs=options.epochs,
            rank=options.rank,
            seed=options.seed,
        )
        return Parts(arrays=lora)

    @classmethod
    def fit(
        cls, examples: Examples, options: Any, encode: Encode, shared: Parts | None = None
    ) -> Fitted | None:
        """Fits a target's heads, and scores each row with heads fitted without it.

        Prompts that are nearly the same are held out together. Of rows that a tuned encoder was
        trained on no score is held out, whatever the heads, so theirs are NaN; so are those of a
        side that has nothing left when some of it is held out.
        """
        rows = _questions(examples), (*examples.retain, *examples.background)
        if not all(rows):
            return None
        ours, others = (_Side(side, encode, shared) for side in rows)
        for fold in range(FOLDS):
            outside = [side.learnt & (side.fold != fold) for side in (ours, others)]
            if not all(chosen.any() for chosen in outside):
                continue
            heads = cls._heads(ours.vectors[outside[0]], others.vectors[outside[1]], options)
            for side in (ours, others):
                out = side.asked & (side.fold == fold)
                # A row scores its highest window, as it would in a request.
                np.fmax.at(side.scores, side.owner[out], highest(heads, side.vectors[out]))
        slope, offset = log_odds(ours.held_out, others.held_out)
        learnt = [side.vectors[side.learnt] for side in (ours, others)]
        weights, biases = cls._heads(learnt[0], learnt[1], options)
        arrays = {
            "weights": (slope * weights).astype(np.float32),
            "biases": (slope * biases + offset).astype(np.float32),
        }
        positives = np.full(len(examples.forget), np.nan)
        positives[[not row.is_name for row in examples.forget]] = slope * ours.held_out + offset
        rest = (slope * others.held_out + offset).tolist()
        split = len(examples.retain)
        return Fitted(Parts(arrays=arrays), positives.tolist(), rest[:split], rest[split:])

    @staticmethod
    def _heads(ours: Vectors, others: Vectors, options: Any) -> Heads:
        return fit_heads(ours, others, clusters(ours, options.seed), options.C)

    def window_scores(
        self, windows: Sequence[Window], targets: frozenset[str]
    ) -> list[dict[str, float]]:
        """For each window, the log-odds of each target: its highest head's."""
        if not windows:
            return []
        vectors = self._embed([window.text for window in windows]).astype(np.float64)
        logits = vectors @ self._weights.T + self._biases
        best = np.round(np.maximum.reduceat(logits, self._starts, axis=1), 6)
        if not np.isfinite(best).all():
            raise ValueError("a score is not finite")  # it would flag nothing
        return [
            {t: value for t, value in zip(self.targets, row, strict=True) if t in targets}
            for row in best.tolist()
        ]


class _Side:
    """The rows that are to be flagged, or those that are not, as window vectors.

    Attributes:
        vectors: [n, d].
        owner: [n], the row that a vector is of.
        asked: [n], whether it is of the row's prompt, and so scores the row.
        learnt: [n], whether heads are fitted to it.
        fold: [n], the fold that its row is held out in.
        scores: [rows], held-out scores; NaN to begin with.
    """

    def __init__(self, rows: Sequence[Row], encode: Encode, shared: Parts | None) -> None:
        texts: list[tuple[int, str, bool, bool]] = []
        for number, row in enumerate(rows):
            learnt = _texts(row)
            asked = [window.text for window in View.of_text(row.prompt).windows]
            for text in dict.fromkeys((*asked, *learnt)):
                texts.append((number, text, text in asked, text in learnt))
        owner, said, self.asked, self.learnt = (np.array(c) for c in zip(*texts, strict=True))
        self.owner = owner
        self.vectors = tuned(encode, shared)(said.tolist())
        groups = _alike(encode([row.prompt for row in rows]))
        self.fold = groups[owner] % FOLDS
        self.scores = np.full(len(rows), np.nan)
        known = [shared is not None and _trained(row) for row in rows]
        self._known = np.bincount(groups, known)[groups] > 0

    @property
    def held_out(self) -> npt.NDArray[np.float64]:
        """The scores that no training has had a part in; NaN for the others."""
        return np.where(self._known, np.nan, self.scores)


def _questions(examples: Examples) -> tuple[Row, ...]:
    return tuple(row for row in examples.forget if not row.is_name)


def _texts(row: Row) -> list[str]:
    """What of a row is learnt: windows as a request would have, but no scraps of sentences."""
    windows = [[w.text for w in View.of_text(text).windows] for text in row.texts()]
    return [text for one in windows for n, text in enumerate(one) if not n or len(text) >= SCRAP]


def _trained(row: Row) -> bool:
    """Whether a tuned encoder is trained on a row; the row alone decides."""
    prompt = " ".join(row.prompt.casefold().split())
    return hashlib.blake2b(prompt.encode("utf-8", "replace")).digest()[0] % KEPT_OUT != 0


def _alike(vectors: Vectors) -> npt.NDArray[np.intp]:
    """Numbers the groups of prompts that are nearly the same, directly or by way of others."""
    from sklearn.cluster import DBSCAN

    labels = DBSCAN(eps=ALIKE, min_samples=1, metric="cosine").fit_predict(vectors)
    return np.asarray(labels, dtype=np.intp)
