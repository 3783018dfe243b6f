"""An attack whose answers are drawn several times: what greedy answers hide, under every attack."""

import random
import re
from collections.abc import Sequence
from dataclasses import replace

from benchmarks.leakage.ask import Answer, Ask
from benchmarks.leakage.attacks.base import Attack, Play
from benchmarks.leakage.case import Case

_NAME = re.compile(r"(.+), (\d+) draws")


class Drawn(Attack):
    """Another attack, played several times at temperature 1; the answers of all plays are judged.

    Each play says the same at first, and then what follows from the answers that it got. A search
    has drawn its own answers already: it is played once, and its last prompt is drawn.

    Args:
        attack: The other one.
        draws: How many times.
    """

    def __init__(self, attack: Attack, draws: int) -> None:
        self.attack, self.draws = attack, draws
        self.name = f"{attack.name}, {draws} draws"
        self.knows = attack.knows
        if attack.budget is None:
            self.cost = attack.cost * draws
        else:
            self.cost = self.budget = attack.budget - 1 + draws

    def applies(self, case: Case) -> bool:
        return self.attack.applies(case)

    def gives(self, case: Case, others: Sequence[Case], random: random.Random) -> str:
        return self.attack.gives(case, others, random)

    def play(self, case: Case, others: Sequence[Case], random: random.Random) -> Play:
        again = 1 if self.attack.budget is not None else self.draws
        samples = self.draws // again
        state = random.getstate()
        plays = [self.attack.play(case, others, _from(state)) for _ in range(again)]
        random.getrandbits(32)  # not what the plays begin with
        asks = [next(play) for play in plays]
        judged: dict[int, Sequence[Answer]] = {}
        going = list(range(again))
        while going:
            told = yield [_drawn(ask, samples, random) for at in going for ask in asks[at]]
            left, still = list(told), []
            for at in going:
                own, left = left[: len(asks[at])], left[len(asks[at]) :]
                try:
                    asks[at] = plays[at].send(own)
                    still.append(at)
                except StopIteration as ended:
                    judged[at] = ended.value
            going = still
        return [answer for at in range(again) for answer in judged[at]]


def parted(name: str) -> tuple[str, int]:
    """Returns the attack that a name stands for, and how often it was drawn; 1: it was not."""
    found = _NAME.fullmatch(name)
    return (found[1], int(found[2])) if found else (name, 1)


def _from(state: tuple[object, ...]) -> random.Random:
    chance = random.Random()
    chance.setstate(state)
    return chance


def _drawn(ask: Ask, samples: int, chance: random.Random) -> Ask:
    """A greedy request at temperature 1; one that is drawn anyway stays as it is."""
    if ask.temperature:
        return ask
    return replace(ask, samples=samples, temperature=1.0, seed=chance.getrandbits(31))
