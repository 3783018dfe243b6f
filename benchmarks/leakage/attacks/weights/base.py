"""The contract of an attack on weights: another model in place of the edited one."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from guard.data import Row


class WeightAttack(ABC):
    """One way of undoing an edit of weights.

    Attributes:
        name: What the results call it.
    """

    name: str

    @abstractmethod
    def model(self, model: Path, rows: Sequence[Row], out: Path, seed: int) -> Path:
        """Attacks a model whose weights are edited, or that an adapter was merged into.

        Args:
            model: Its folder; it stays as it is.
            rows: Forget rows that the attacker has; they are not to be judged (`divided`).
            out: The folder to make; not there, or empty.
            seed: Of all chance.

        Returns:
            `out`, written whole or not at all.

        Raises:
            DataError: There is no row to learn.
            ModelError: The folder holds no such model, or `out` cannot be written.
        """

    @abstractmethod
    def adapter(
        self, model: Path, adapter: Path, rows: Sequence[Row], out: Path, seed: int
    ) -> Path:
        """Attacks a LoRA's PEFT folder; the model is the one it was made for.

        Otherwise as `model`.
        """
