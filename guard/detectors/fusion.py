"""Several measures of one text, made one score.

The weights are fitted per target, by logistic regression on rows that each were held out; with
too few rows to fit anything, weights stand in that fitted well elsewhere.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Features = npt.NDArray[np.float32]

ENOUGH = 8  # rows of a side; below, a fit follows single rows
_STRENGTH = 0.1  # of the fit against its regulariser; chosen on authors outside every benchmark


def fit_weights(
    inside: Features,
    neighbours: Features,
    everyday: Features,
    signs: Sequence[int],
    usual: Sequence[float],
) -> list[float]:
    """Fits one weight a measure, and a constant.

    Forget rows weigh as much as all others together; of those, the few neighbours as much as the
    many everyday prompts, which lie so far away that they alone would teach nothing.

    Args:
        inside: Measures of held-out forget rows [m, k].
        neighbours: Measures of held-out retain rows [n, k].
        everyday: Measures of held-out everyday prompts [e, k].
        signs: Whether a measure speaks for (1) or against (-1) the target [k]; a weight that comes
            out otherwise is set to nothing.
        usual: Weights, and the constant, where there are too few rows [k + 1].

    Returns:
        The k weights and the constant; their sum is the log-odds of the target being touched.
    """
    if len(inside) < ENOUGH or len(neighbours) + len(everyday) < ENOUGH:
        return list(usual)
    from sklearn.linear_model import LogisticRegression

    sides = [side for side in (neighbours, everyday) if len(side)]
    rows = np.concatenate([inside, *sides]).astype(np.float64)
    labels = np.r_[np.ones(len(inside)), np.zeros(len(rows) - len(inside))]
    heavy = [np.full(len(side), len(inside) / len(sides) / len(side)) for side in sides]
    weight = np.concatenate([np.ones(len(inside)), *heavy])
    mean = np.average(rows, axis=0, weights=weight)
    spread = np.sqrt(np.average((rows - mean) ** 2, axis=0, weights=weight))
    rows /= np.maximum(spread, 1e-6)
    free = np.ones(len(signs), dtype=bool)
    while True:  # a weight of the wrong sign leaves, and the others are fitted anew
        model = LogisticRegression(C=_STRENGTH, max_iter=2000)
        model.fit(rows[:, free], labels, sample_weight=weight)
        weights = np.zeros(len(signs))
        weights[free] = model.coef_[0] / np.maximum(spread[free], 1e-6)
        wrong = weights * np.asarray(signs) < 0
        if not wrong.any() or not (free & ~wrong).any():
            return [*np.where(wrong, 0.0, weights).tolist(), float(model.intercept_[0])]
        free &= ~wrong


def fuse(features: Features, weights: Sequence[float]) -> Features:
    """Returns the scores [n] of measures [n, k]."""
    vector = np.asarray(weights[:-1], dtype=np.float32)
    return (features @ vector + np.float32(weights[-1])).astype(np.float32)
