"""From a detector's score to how much a guard should intervene: O3's soft weight.

O3 (ICLR 2025, arXiv 2407.10223, section 3.3) scales an unlearning adapter by how sure its detector
is, instead of switching it. Scores of forget rows, seen and held out, are a mixture P of two
Gaussians around x0; a score x has p = 1 - |P(x) - P(2 x0 - x)| and weight sigmoid(10 p - 2).
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np


@dataclass(frozen=True)
class SoftWeight:
    """Maps a score to a weight in (0, 1): 0.9997 for forget rows, 0.119 far from them.

    Attributes:
        means: Of the scores of rows as they were seen, and held out.
        deviations: Their standard deviations.
    """

    means: tuple[float, float]
    deviations: tuple[float, float]

    @classmethod
    def fit(cls, seen: Sequence[float], held_out: Sequence[float]) -> "SoftWeight":
        """Fits one Gaussian to each list of scores; both count one half.

        Raises:
            ValueError: A list is empty or holds a score that is not finite.
        """
        lists = [np.asarray(scores, dtype=np.float64) for scores in (seen, held_out)]
        if not all(len(scores) and np.isfinite(scores).all() for scores in lists):
            raise ValueError("a soft weight needs finite scores of both kinds")
        # Scores that are all alike still need a width: a small part of the gap, or any at all.
        least = 1e-3 * abs(float(lists[0].mean() - lists[1].mean())) or 1e-6
        one, two = ((float(s.mean()), max(float(s.std()), least)) for s in lists)
        return cls((one[0], two[0]), (one[1], two[1]))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "SoftWeight":
        """Reads what `to_dict` wrote."""
        (a, b), (c, d) = data["means"], data["deviations"]
        return cls((a, b), (c, d))

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON form."""
        return {name: list(pair) for name, pair in asdict(self).items()}

    def __call__(self, score: float) -> float:
        """Returns the weight of a score.

        O3's formula is symmetric, so that a row met word for word, which scores above x0, would
        weigh less than a paraphrase of it. Here whatever lies above x0 weighs as x0 does.
        """
        centre = sum(self.means) / 2
        below = min(score, centre)
        p = 1 - abs(self._cdf(below) - self._cdf(2 * centre - below))
        return 1 / (1 + math.exp(2 - 10 * p))

    def _cdf(self, x: float) -> float:
        pairs = zip(self.means, self.deviations, strict=True)
        return sum(NormalDist(mean, deviation).cdf(x) for mean, deviation in pairs) / 2
