"""How far a text is, in each layer of an encoder, from the distribution of a set of texts.

O3's layer score (ICLR 2025, arXiv 2407.10223, section 3.2): -1/2 M²(x) + 1000 max cos(x, set), with
M the Mahalanobis distance. A set may have fewer texts than the encoder has dimensions, so the
covariance is shrunk (Ledoit and Wolf, 2004).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from guard.detectors.base import Vectors

COSINE = 1000.0  # what a cosine of one counts beside M²/2


@dataclass(frozen=True)
class LayerDistribution:
    """What is known of a forget set in each layer: its distribution and its vectors.

    Attributes:
        mean: [layers, d].
        axes: Principal axes, [layers, r, d].
        variances: Shrunk variance along each axis, [layers, r].
        floor: Shrunk variance across all other directions, [layers].
        forget: Unit vectors in float16, [n, layers, d].
    """

    mean: npt.NDArray[np.float32]
    axes: npt.NDArray[np.float32]
    variances: npt.NDArray[np.float32]
    floor: npt.NDArray[np.float32]
    forget: npt.NDArray[np.float16]

    @classmethod
    def fit(cls, states: Vectors) -> "LayerDistribution":
        """Fits to forget states [n, layers, d]; covariances are shrunk, since n may be below d."""
        from sklearn.covariance import ledoit_wolf_shrinkage

        n, count, d = states.shape
        rank = min(n - 1, d)
        mean = states.mean(axis=0, dtype=np.float64)
        axes = np.empty((count, rank, d))
        variances, floor = np.empty((count, rank)), np.empty(count)
        for layer in range(count):
            centred = states[:, layer] - mean[layer]
            shrinkage = ledoit_wolf_shrinkage(centred, assume_centered=True)
            _, spread, directions = np.linalg.svd(centred, full_matrices=False)
            # Rows that are all alike leave no variance: then the states' own size says what is far.
            least = 1e-6 * float(np.mean(states[:, layer] ** 2)) + 1e-12
            floor[layer] = max(shrinkage * float(np.mean(centred**2)), least)
            axes[layer] = directions[:rank]
            variances[layer] = (1 - shrinkage) * spread[:rank] ** 2 / n + floor[layer]
        return cls(
            mean.astype(np.float32),
            axes.astype(np.float32),
            variances.astype(np.float32),
            floor.astype(np.float32),
            _unit(states).astype(np.float16),
        )

    def scores(self, states: Vectors) -> npt.NDArray[np.float64]:
        """Scores states [n, layers, d] layer by layer [n, layers]; higher is nearer."""
        centred = states.astype(np.float64) - self.mean
        along = np.einsum("nld,lrd->nlr", centred, self.axes.astype(np.float64), optimize=True)
        across = np.maximum((centred**2).sum(axis=2) - (along**2).sum(axis=2), 0)
        mahalanobis = (along**2 / self.variances).sum(axis=2) + across / self.floor
        cosines = np.einsum(
            "nld,mld->nlm", _unit(states), self.forget.astype(np.float32), optimize=True
        )
        return np.asarray(-mahalanobis / 2 + COSINE * cosines.max(axis=2), dtype=np.float64)


def _unit(states: Vectors) -> Vectors:
    lengths = np.linalg.norm(states, axis=2, keepdims=True)
    return np.asarray(states / np.maximum(lengths, 1e-12), dtype=np.float32)
