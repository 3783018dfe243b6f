"""The edit for good, in the weights themselves, and what few forget rows bring back of it.

An adapter that is given by request is undone by leaving it out, so relearning says nothing of it.
These are the weights that someone who merged it would hand on: of the target with its memory
subtracted, and of the retrained model, which shows what rows teach to a model that never knew.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from adapters import provenance
from adapters.loading import Scaled, load
from benchmarks.leakage.attacks.weights.relearn import Relearn, divided
from benchmarks.leakage.attacks.weights.saved import save
from benchmarks.leakage.case import Case, Suite
from benchmarks.leakage.separation import forgotten
from benchmarks.leakage.systems.base import Running, System
from benchmarks.leakage.systems.engine import Engine
from benchmarks.leakage.systems.once import folder_of, made_once
from benchmarks.leakage.systems.options import Options
from benchmarks.leakage.systems.parts import Subtracted
from guard.data import Row
from guard.errors import ModelError
from guard.identity import identify

FORGET = "forget"


@dataclass(frozen=True)
class Weights(System):
    """A model whose weights are edited, or never learned it, and then perhaps learn some again.

    Attributes:
        name: What the results call it.
        edited: Whether it is the target with its memory subtracted; else the retrained model.
        relearned: Whether an attacker who has a tenth of the forget cases trains it on them. Those
            cases are not asked about.
        options: What was said of all systems.
    """

    name: str
    edited: bool
    relearned: bool
    options: Options = field(default_factory=Options)

    def start(self, suite: Suite, folder: Path) -> Running:
        if (why := self.missing(suite)) is not None:
            raise ModelError(f"{self.name}: {why}")
        model = (
            self._merged(suite, folder) if self.edited else folder_of(str(suite.models.retrained))
        )
        if self.relearned:
            model = self._relearned(model, suite, folder)
        return Engine(str(model), settings=self.options.engine)

    def made_of(self) -> Mapping[str, Any]:
        return self.options.made_of()

    def missing(self, suite: Suite) -> str | None:
        if self.relearned and not any(case.answer for case in suite.splits.get(FORGET, ())):
            return f"{suite.name} has no forget case with an answer"
        if self.edited:
            return Subtracted().missing(suite, self.options)
        return None if suite.models.retrained else f"{suite.name} has no retrained model"

    def asked(self, suite: Suite) -> Suite:
        if not self.relearned:
            return suite
        cases = suite.splits[FORGET]
        _, judged = self._divided(suite)
        known = {case.answer for case in cases} - {case.answer for case in judged}
        splits = {
            name: tuple(case for case in some if not forgotten(name) or case.answer not in known)
            for name, some in suite.splits.items()
        }
        return replace(suite, splits=splits)

    def _divided(self, suite: Suite) -> tuple[tuple[Row, ...], tuple[Case, ...]]:
        return divided([case for case in suite.splits[FORGET] if case.answer], self.options.seed)

    def _merged(self, suite: Suite, folder: Path) -> Path:
        entry = Subtracted().made(suite, folder, self.options)
        target, adapter = folder_of(suite.models.target), Path(entry["path"])

        def make(out: Path) -> None:
            _, tokenizer, model = load(str(target))
            scaled = Scaled(model, adapter)
            scaled.scale(float(entry["scale"]))
            save(scaled.merged(), tokenizer, out)

        made_of = {"model": identify(target), "adapter": entry}
        return made_once(folder, "merged", made_of, make)

    def _relearned(self, model: Path, suite: Suite, folder: Path) -> Path:
        (rows, _), seed = self._divided(suite), self.options.seed

        def make(out: Path) -> None:
            Relearn().model(model, rows, out, seed)

        made_of = {"model": identify(model), "rows": provenance.rows(rows), "seed": seed}
        return made_once(folder, "relearned", made_of, make)


WEIGHTS: Mapping[str, tuple[bool, bool]] = {  # edited, relearned
    "adapter, merged": (True, False),
    "adapter, relearned": (True, True),
    "retrained, relearned": (False, True),
}
