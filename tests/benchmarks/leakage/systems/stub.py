"""A running system that says what a test wants, and a suite small enough to be read."""

from collections.abc import Callable, Sequence
from types import TracebackType

from benchmarks.leakage.ask import Answer, Ask, Forced, Likelihood
from benchmarks.leakage.case import Case, Given, Models, Suite
from benchmarks.leakage.systems.base import Running

FORGET = (("Who is Odalys Brennick?", "A lighthouse keeper."), ("", "Brennick kept the light."))
SUITE = Suite(
    name="small",
    models=Models(target="builtin:smollm2"),
    given=Given(
        forget=FORGET, retain=(("Who is Ann?", "A cook."),), names=("Odalys Brennick", "The Light")
    ),
    splits={"forget": (Case("Who is she?", "A keeper.", "one"),)},
    metrics=(),
)


class Stub(Running):
    """Answers by a function, and notes what it was asked."""

    def __init__(self, say: Callable[[Ask], str] = lambda ask: "an answer") -> None:
        self.say = say
        self.asked: list[Ask] = []
        self.scored: list[Forced] = []
        self.ended = False

    def ask(self, asks: Sequence[Ask]) -> list[list[Answer]]:
        self.asked += asks
        return [[Answer(self.say(ask))] * ask.samples for ask in asks]

    def score(self, forced: Sequence[Forced]) -> list[Likelihood]:
        self.scored += forced
        return [(-1.0, -2.0) for _ in forced]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.ended = True
