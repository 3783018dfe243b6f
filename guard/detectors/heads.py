"""Linear heads: how a target's are fitted to unit vectors, at compile time only.

A head for each cluster of the forget set: a line that fences off one person's questions is easily
found, one that fences off twenty people's is not there to be found. What scores highest and should
not weighs more (hard negatives), and class weights make up for how few forget rows there are.
"""

import numpy as np
import numpy.typing as npt

from guard.detectors.base import Vectors

Heads = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]  # [heads, d] and [heads]
Scores = npt.NDArray[np.float64]

# Texts of a cluster, on average. 20 to 30 did best on TOFU's forget rows among themselves; twice as
# many heads do little harm, half as many do much.
CLUSTER = 24
HARDEST, HARD_WEIGHT = 10, 8.0  # one negative of so many, the hardest, comes to weigh so much


def clusters(vectors: Vectors, seed: int) -> npt.NDArray[np.intp]:
    """Divides texts by what they are about, with k-means.

    Args:
        vectors: [n, d].
        seed: Of where k-means starts.

    Returns:
        The cluster of each text [n], numbered from 0 without gaps.
    """
    from sklearn.cluster import KMeans

    count = max(round(len(np.unique(vectors, axis=0)) / CLUSTER), 1)
    labels = KMeans(count, n_init=4, random_state=seed).fit_predict(vectors)
    return np.unique(labels, return_inverse=True)[1]


def fit_heads(ours: Vectors, others: Vectors, numbers: npt.NDArray[np.intp], c: float) -> Heads:
    """Fits a logistic regression for each cluster against what is not to be flagged, twice.

    The second fit weighs more what scored highest in the first.

    Args:
        ours: Forget vectors [n, d].
        others: Vectors that are not to be flagged [m, d].
        numbers: Clusters of the forget vectors [n].
        c: Inverse strength of regularisation.
    """
    from sklearn.linear_model import LogisticRegression

    line = LogisticRegression(C=c, class_weight="balanced", max_iter=1000)
    hard = -(-len(others) // HARDEST)
    lines = []
    for number in range(numbers.max() + 1):
        own = ours[numbers == number]
        vectors = np.concatenate([own, others])
        labels = np.arange(len(vectors)) < len(own)
        scores = line.fit(vectors, labels).decision_function(others)
        weights = np.ones(len(vectors))
        weights[len(own) + np.argsort(-scores, kind="stable")[:hard]] = HARD_WEIGHT
        line.fit(vectors, labels, weights)
        lines.append(np.append(line.coef_[0], line.intercept_))
    found = np.array(lines, dtype=np.float32)
    return found[:, :-1], found[:, -1]


def highest(heads: Heads, vectors: Vectors) -> npt.NDArray[np.float32]:
    """Returns the logit of each vector's highest head [n]."""
    weights, biases = heads
    scores: npt.NDArray[np.float32] = (vectors @ weights.T + biases).max(axis=1)
    return scores


def log_odds(positives: Scores, negatives: Scores) -> tuple[float, float]:
    """Slope and offset that make log-odds of held-out scores (Platt 1999), kinds weighing alike."""
    from sklearn.linear_model import LogisticRegression

    kinds = [scores[np.isfinite(scores)] for scores in (negatives, positives)]
    if not all(map(len, kinds)):
        return 1.0, 0.0
    labels = np.repeat([0, 1], [len(scores) for scores in kinds])
    line = LogisticRegression(class_weight="balanced")
    line.fit(np.concatenate(kinds)[:, None], labels)
    slope, offset = float(line.coef_[0, 0]), float(line.intercept_[0])
    return (slope, offset) if slope > 0 else (1.0, 0.0)
