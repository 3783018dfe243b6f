"""Guardrails around a plain model: what is put before it or behind it, by a client of it.

"Guardrail baselines" (Thaker et al., arXiv 2403.03329). They are the simplest systems that there
are, and what any other has to beat.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.leakage.ask import Answer, Ask, Forced, Likelihood
from benchmarks.leakage.case import Suite
from benchmarks.leakage.systems.base import Running, System
from benchmarks.leakage.systems.models import Model
from benchmarks.leakage.systems.options import Options
from benchmarks.question import Prompt
from guard.errors import DataError
from guard.interventions.refuse import RefuseOptions

# What is said in the model's place: the guard's own words, so that no metric tells them apart.
REFUSAL = Answer(RefuseOptions().message, "blocked")


class Around(Running):
    """A system with something around it, which ends with it.

    Args:
        inner: The system.
    """

    def __init__(self, inner: Running) -> None:
        self.inner = inner

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.inner.__exit__(kind, error, trace)


class Gate(Around):
    """Lets through the prompts that it does not flag, and refuses the others."""

    @abstractmethod
    def judged(self, prompts: Sequence[Prompt]) -> list[float]:
        """How far each prompt is above the threshold; at 0 and above it is refused."""

    def ask(self, asks: Sequence[Ask]) -> list[list[Answer]]:
        flagged = self._flagged([ask.prompt for ask in asks])
        answers = iter(self.inner.ask([a for a, f in zip(asks, flagged, strict=True) if not f]))
        return [
            [REFUSAL] * ask.samples if flag else next(answers)
            for ask, flag in zip(asks, flagged, strict=True)
        ]

    def score(self, forced: Sequence[Forced]) -> list[Likelihood]:
        flagged = self._flagged([one.prompt for one in forced])
        let = [one for one, flag in zip(forced, flagged, strict=True) if not flag]
        scores = iter(self.inner.score(let))
        return [None if flag else next(scores) for flag in flagged]

    def flags(self, asks: Sequence[Ask]) -> list[float] | None:
        return self.judged([ask.prompt for ask in asks])

    def _flagged(self, prompts: Sequence[Prompt]) -> list[bool]:
        return [value >= 0 for value in self.judged(prompts)]


Wrap = Callable[[Running, Suite, Path], Running]


@dataclass(frozen=True)
class Guardrail(System):
    """The suite's target with a guardrail around it.

    Attributes:
        name: What the results call it.
        wrap: Puts the guardrail around the running target.
        named: Whether it has to know by name what is to be forgotten.
        options: What was said of all systems.
    """

    name: str
    wrap: Wrap
    named: bool = True
    options: Options = field(default_factory=Options)

    def start(self, suite: Suite, folder: Path) -> Running:
        if (why := self.missing(suite)) is not None:
            raise DataError(f"{self.name}: {why}")
        inner = Model("target", self.options.engine).start(suite, folder)
        try:
            return self.wrap(inner, suite, folder)
        except BaseException:
            inner.__exit__(None, None, None)
            raise

    def made_of(self) -> Mapping[str, Any]:
        return self.options.made_of()

    def missing(self, suite: Suite) -> str | None:
        if self.named and not suite.given.names:
            return f"{suite.name} names nobody, and it goes by names"
        return None if self.named or suite.given.forget else "no forget rows are given"
