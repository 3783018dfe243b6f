"""Several measures of one text, made one score.

The weights are fitted per target, by logistic regression on rows that each were held out; with
too few rows to fit anything, weights stand in that fitted well elsewhere.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Features = npt.NDArray[np.float32]

ENOUGH = 8  # rows of a side; below, a fit follows single rows


def fit_weights(
    inside: Features, outside: Features, signs: Sequence[int], usual: Sequence[float]
) -> list[float]:
    """Fits one weight a measure, and a constant.

    Args:
        inside: Measures of held-out forget rows [m, k].
        outside: Measures of held-out rows that must not be flagged [n, k].
        signs: Whether a measure speaks for (1) or against (-1) the target [k]; a weight that comes
            out otherwise is set to nothing.
        usual: Weights, and the constant, where there are too few rows [k + 1].

    Returns:
        The k weights and the constant; their sum is the log-odds of the target being touched.
    """
    if min(len(inside), len(outside)) < ENOUGH:
        return list(usual)
    from sklearn.linear_model import LogisticRegression

    rows = np.concatenate([inside, outside]).astype(np.float64)
    labels = np.r_[np.ones(len(inside)), np.zeros(len(outside))]
    spread = np.maximum(rows.std(axis=0), 1e-6)
    free = np.ones(len(signs), dtype=bool)
    while True:  # a weight of the wrong sign leaves, and the others are fitted anew
        model = LogisticRegression(class_weight="balanced", max_iter=2000)
        model.fit(rows[:, free] / spread[free], labels)
        weights = np.zeros(len(signs))
        weights[free] = model.coef_[0] / spread[free]
        wrong = weights * np.asarray(signs) < 0
        if not wrong.any() or not (free & ~wrong).any():
            return [*weights.tolist(), float(model.intercept_[0])]
        free &= ~wrong


def fuse(features: Features, weights: Sequence[float]) -> Features:
    """Returns the scores [n] of measures [n, k]."""
    vector = np.asarray(weights[:-1], dtype=np.float32)
    return (features @ vector + np.float32(weights[-1])).astype(np.float32)
