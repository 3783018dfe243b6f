"""Flagged prompts answered by what never learned them: ``python -m adapters retrain``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.leakage.case import Suite
from benchmarks.leakage.systems.once import (
    folder_of,
    forget_rows,
    made_once,
    recipe,
    retain_rows,
)
from benchmarks.leakage.systems.options import Options
from benchmarks.leakage.systems.parts import Part, no_base


@dataclass(frozen=True)
class Retrained(Part):
    """A LoRA of the base model that has learned some of the given retain rows, less the target's.

    Everything is a default, and nothing is chosen: no strength, and no forget row is read but to
    see that none is learned.
    """

    def missing(self, suite: Suite, options: Options) -> str | None:
        few = None if retain_rows(suite.given) else "no retain rows are given"
        return no_base(suite) or few

    def made(self, suite: Suite, folder: Path, options: Options) -> dict[str, Any]:
        from adapters.objectives.negate import Negate
        from adapters.retraining import ROWS, retrain
        from adapters.settings import settings_for

        target, base = folder_of(suite.models.target), folder_of(str(suite.models.base))
        forget, retain = forget_rows(suite.given), retain_rows(suite.given)
        settings = settings_for(Negate, {"seed": options.seed})

        def make(out: Path) -> None:
            # Taken up where an earlier run was broken off.
            retrain(target, base, retain, out, settings, forget=forget, resume=True)

        what = {"rows": ROWS, **settings.model_dump(mode="json"), "base": suite.models.base}
        place = options.parts or folder
        path = made_once(place, "retrained", recipe(target, suite, what), make)
        return {"kind": "adapter", "path": str(path.resolve())}
