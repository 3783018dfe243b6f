"""Adapters whose weights are rounded, as a deployment may: does what was forgotten come back?

Relearning is of weights that are handed on: `benchmarks.leakage.systems.weights`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters import provenance
from benchmarks.leakage.attacks.weights import WEIGHT_ATTACKS
from benchmarks.leakage.case import Suite
from benchmarks.leakage.systems.once import made_once
from benchmarks.leakage.systems.options import Options
from benchmarks.leakage.systems.parts import Part
from guard.lora import WEIGHTS
from guard.models import resolve


@dataclass(frozen=True)
class Attacked(Part):
    """Another part's adapter after an attack on its weights.

    Attributes:
        part: What makes the adapter.
        attack: The attack's name; one that needs no rows.
    """

    part: Part
    attack: str

    def missing(self, suite: Suite, options: Options) -> str | None:
        return self.part.missing(suite, options)

    def made(self, suite: Suite, folder: Path, options: Options) -> dict[str, Any]:
        entry = self.part.made(suite, folder, options)
        adapter = Path(entry["path"])
        attack = WEIGHT_ATTACKS[self.attack]

        def make(out: Path) -> None:
            attack.adapter(Path(resolve(suite.models.target)), adapter, [], out, options.seed)

        made_of = {
            "attack": self.attack,
            "adapter": provenance.file_hash(adapter / WEIGHTS),
            "seed": options.seed,
        }
        path = made_once(options.parts or folder, "attacked", made_of, make)
        return {**entry, "path": str(path.resolve())}
