"""What sentences mean beside what the forget set says, and where the line is drawn."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from guard.data import Row
from guard.detectors.base import Encode, Vectors
from guard.errors import DataError
from guard.forbidden import answer_of
from guard.output.sentences import sentences
from guard.parts import Parts


def claim(question: str, sentence: str) -> str:
    """The text of a claim: a sentence says little without what was asked."""
    return f"{question.strip()} {sentence.strip()}".strip()


@dataclass(frozen=True)
class Claims:
    """What a forget set claims: each sentence of its answers, and each answer as a whole.

    Attributes:
        vectors: Of each claim, its question before it [n, d].
        rows: The forget row of each [n].
    """

    vectors: Vectors
    rows: npt.NDArray[np.int32]

    @classmethod
    def of(
        cls, rows: Sequence[Row], encode: Encode, among: Collection[int] | None = None
    ) -> Self | None:
        """Encodes the claims of forget rows, of all or some; None where no row has an answer."""
        texts: dict[tuple[int, str], None] = {}
        for number, row in enumerate(rows):
            answer = answer_of(row) if among is None or number in among else ""
            for text in (*sentences(answer), answer) if answer else ():
                texts[number, claim(row.prompt if row.answer else "", text)] = None
        if not texts:
            return None
        vectors = encode([text for _, text in texts])
        return cls(vectors, np.array([number for number, _ in texts], np.int32))

    @classmethod
    def load(cls, parts: Parts) -> Self | None:
        """Reads what `arrays` returned; None where there was nothing."""
        if "vectors" not in parts.arrays:
            return None
        return cls(parts.arrays["vectors"].astype(np.float32), parts.arrays["rows"])

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Returns the arrays that the bundle keeps."""
        return {"vectors": self.vectors.astype(np.float16), "rows": self.rows}

    def nearest(self, vector: Vectors, among: frozenset[int] | None = None) -> tuple[float, int]:
        """Returns the greatest cosine similarity to a row's claims, and that row.

        Args:
            vector: Of a claim [d].
            among: The rows that count; None for all.
        """
        values = self.vectors @ vector
        if among is not None:
            values = np.where(np.isin(self.rows, list(among)), values, -np.inf)
        best = int(values.argmax())
        return float(values[best]), int(self.rows[best])

    def line(
        self, neighbours: Sequence[str], everyday: Sequence[str], rate: float, encode: Encode
    ) -> float:
        """Returns the threshold that at most a share of the claims to be kept reaches.

        Split-conformal, as in `guard.detectors.calibration`: of either kind for itself, so that
        many everyday claims do not outvote a few neighbours.

        Args:
            neighbours: Claims of retain rows; nothing was fitted on their vectors.
            everyday: Claims of the background.
            rate: The share.
            encode: The sentence encoder.

        Raises:
            DataError: There are neither.
        """
        lines = [
            _conformal((encode(texts) @ self.vectors.T).max(axis=1).tolist(), rate)
            for texts in (neighbours, everyday)
            if texts
        ]
        if not lines:
            raise DataError(
                "retain: give a file of neighbours that must keep working; the output check draws "
                "its line by them"
            )
        return max(lines)


def kept_claims(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Returns the question and each sentence of rows that must keep working.

    Of a row without an answer, the row itself.
    """
    return [
        (row.prompt if row.answer else "", text)
        for row in rows
        for text in (sentences(row.answer) if row.answer else [row.prompt])
    ]


def _conformal(scores: Sequence[float], rate: float) -> float:
    allowed = max(math.floor(rate * (len(scores) + 1) + 1e-9) - 1, 0)
    highest = sorted(scores, reverse=True)[min(allowed, len(scores) - 1)]
    return math.nextafter(highest, math.inf)
