"""A detector of another distribution, which does what prompts tell it: fail, hang, die."""

import time
from typing import Any, ClassVar

from guard.decision import Score
from guard.detectors.base import Detector, Encode, Examples, Fitted, Parts
from guard.view import View


class Faulty(Detector):
    kind: ClassVar[str] = "faulty"
    cost: ClassVar[int] = 5

    @classmethod
    def fit(
        cls, examples: Examples, options: Any, encode: Encode, shared: Parts | None = None
    ) -> Fitted | None:
        kept = [[0.0] * len(rows) for rows in (examples.retain, examples.background)]
        return Fitted(Parts(), [1.0] * len(examples.forget), *kept)

    def score(self, view: View, targets: frozenset[str]) -> dict[str, Score]:
        if "PLEASE RAISE" in view.text:
            raise RuntimeError(f"about {view.text}")
        if "PLEASE HANG" in view.text:
            time.sleep(600)
        if "PLEASE DIE" in view.text:
            raise SystemExit(1)
        if "PLEASE EXHAUST" in view.text:
            raise MemoryError
        value = 1.0 if "forgettable" in view.text else 0.0
        return {target: self.targets[target].score(value, self.kind) for target in targets}
