"""Learning a few forget rows again brings back others too (Hu et al., ICLR 2025, 2406.13356)."""

import random
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from adapters import folder as folders
from benchmarks.leakage.attacks.weights.base import WeightAttack
from benchmarks.leakage.attacks.weights.saved import load, save
from benchmarks.leakage.case import Case
from guard.data import Row
from guard.errors import DataError

_SHARE = 0.1  # of the forget cases, that who relearns has
_STEPS = 10


class Relearn(WeightAttack):
    """Learns the answers of a few forget rows again, in ten steps of eight rows.

    Args:
        steps: How many.
    """

    def __init__(self, steps: int = _STEPS) -> None:
        self.name = "relearn"
        self._steps = steps

    def model(self, model: Path, rows: Sequence[Row], out: Path, seed: int) -> Path:
        from peft import PeftModel

        folders.check(out)
        with TemporaryDirectory(prefix="guard-relearn-") as temp:
            lora = self._train(model, None, rows, Path(temp) / "lora", seed)
            tokenizer, whole = load(model)
            merged = PeftModel.from_pretrained(whole, str(lora)).merge_and_unload()
            return save(merged, tokenizer, out)

    def adapter(
        self, model: Path, adapter: Path, rows: Sequence[Row], out: Path, seed: int
    ) -> Path:
        return self._train(model, adapter, rows, out, seed)

    def _train(
        self, model: Path, adapter: Path | None, rows: Sequence[Row], out: Path, seed: int
    ) -> Path:
        from adapters.objectives.negate import Negate
        from adapters.settings import settings_for
        from adapters.trainer import train

        if not rows:
            raise DataError("relearn: the attacker has no row; give some of the forget set")
        objective = Negate(Negate.Options())
        given: dict[str, Any] = {
            "epochs": self._steps,
            "max_steps": self._steps,
            "seed": seed,
            "save_every": 0,
        }
        settings = settings_for(Negate, given)
        return train(model, rows, (), out, settings, objective, continued=adapter).folder


def divided(
    cases: Sequence[Case], seed: int, share: float = _SHARE
) -> tuple[tuple[Row, ...], tuple[Case, ...]]:
    """Divides forget cases into what an attacker has to relearn with, and what is judged.

    Args:
        cases: The forget cases.
        seed: Of the draw.
        share: How much the attacker has, at least one case.

    Returns:
        The attacker's rows, and the other cases; none of these has an answer of those.
    """
    if not cases:
        return (), ()
    known = random.Random(seed).sample(list(cases), max(1, round(share * len(cases))))
    answers = {case.answer for case in known}
    rows = tuple(
        Row(f"{case.question} {case.answer}") if case.passage else Row(case.question, case.answer)
        for case in known
    )
    return rows, tuple(case for case in cases if case.answer not in answers)
