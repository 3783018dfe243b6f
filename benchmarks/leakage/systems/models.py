"""Models as they are, without anything around them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from benchmarks.leakage.case import Suite
from benchmarks.leakage.systems.base import Running, System
from benchmarks.leakage.systems.engine import Engine, Settings
from guard.errors import ModelError

Which = Literal["target", "retrained", "base"]


@dataclass(frozen=True)
class Model(System):
    """A model of the suite.

    Attributes:
        name: Which: the ``target`` that is to forget; the ``retrained`` one that never learned it;
            the ``base`` that never learned anything of the suite.
        settings: How its engine is started.
    """

    name: Which
    settings: Settings = field(default_factory=Settings)
    bare: ClassVar[bool] = True

    def start(self, suite: Suite, folder: Path) -> Running:
        if (why := self.missing(suite)) is not None:
            raise ModelError(f"{self.name}: {why}")
        return Engine(str(getattr(suite.models, self.name)), settings=self.settings)

    def made_of(self) -> Mapping[str, Any]:
        return {"engine": asdict(self.settings)}

    def missing(self, suite: Suite) -> str | None:
        there = getattr(suite.models, self.name) is not None
        return None if there else f"{suite.name} has no {self.name} model"
