"""Plays an attack on many cases at once: they go forward in step, so that batches are large."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.leakage.ask import Answer, Ask
from benchmarks.leakage.attacks.base import Attack, Play
from benchmarks.leakage.case import Case
from benchmarks.leakage.systems.base import Running
from guard.errors import GuardError

BATCH = 256  # requests

# Told how many cases are done, and how many there are.
Progress = Callable[[int, int], None]
# Told what was asked about a case and what came back: its number, requests, and answers to each.
Heard = Callable[[int, Sequence[Ask], Sequence[Sequence[Answer]]], None]


@dataclass
class _Open:
    """A case whose play goes on.

    Attributes:
        number: Which.
        play: Its conversation.
        asks: What it asks next.
        drawn: How many answers it has had drawn.
    """

    number: int
    play: Play
    asks: Sequence[Ask]
    drawn: int = 0


def play(
    attack: Attack,
    cases: Sequence[Case],
    others: Sequence[Case],
    running: Running,
    seed: int,
    *,
    batch: int = BATCH,
    progress: Progress = lambda done, of: None,
    heard: Heard = lambda number, asks, answers: None,
) -> tuple[tuple[Answer, ...], ...]:
    """Asks a system about each case in an attack's way.

    What is asked about a case depends on the seed, the attack, the case, the others and the
    system's answers; not on which cases are played beside it, nor on the batches. An answer that
    is ``failed`` goes back to the attack like any other.

    Args:
        attack: How.
        cases: What about; the attack applies to each.
        others: What the attacker knows of other cases; a case itself is not told of itself.
        running: The system.
        seed: Of all chance.
        batch: The most requests that the system is given at a time.
        progress: Is told after each step.
        heard: Is told all that is said.

    Returns:
        For each case the answers that are judged, at least one.

    Raises:
        GuardError: The attack does not apply to a case or goes over its budget, or the system is
            gone.
    """
    judged: dict[int, tuple[Answer, ...]] = {}
    held: list[_Open] = []
    try:
        for number, case in enumerate(cases):
            if not attack.applies(case):
                raise GuardError(f"{attack.name}: does not apply to case {number}")
            known = [other for other in others if other != case]
            chance = random.Random(f"{seed} {attack.name} {case.group} {case.question}")
            talk = attack.play(case, known, chance)
            held.append(_Open(number, talk, ()))
        going = [one for one in held if _next(one, None, attack, judged)]
        while going:
            asks = [ask for one in going for ask in one.asks]
            answers: list[list[Answer]] = []
            for at in range(0, len(asks), batch):
                answers += running.ask(asks[at : at + batch])
            if len(answers) != len(asks):
                raise GuardError(f"the system answered {len(answers)} of {len(asks)} requests")
            at, still = 0, []
            for one in going:
                told = answers[at : at + len(one.asks)]
                at += len(one.asks)
                heard(one.number, one.asks, told)
                if _next(one, told, attack, judged):
                    still.append(one)
            going = still
            progress(len(judged), len(cases))
    finally:
        for one in held:
            one.play.close()
    return tuple(judged[number] for number in range(len(cases)))


def _next(
    one: _Open,
    told: Sequence[Sequence[Answer]] | None,
    attack: Attack,
    judged: dict[int, tuple[Answer, ...]],
) -> bool:
    """Takes a play one step on; False when it has ended, and what is judged is noted."""
    try:
        one.asks = next(one.play) if told is None else one.play.send(told)
    except StopIteration as ended:
        judged[one.number] = tuple(ended.value)
        if not judged[one.number]:
            raise GuardError(f"{attack.name}: ended without an answer to judge") from None
        return False
    one.drawn += sum(ask.samples for ask in one.asks)
    if attack.budget is not None and one.drawn > attack.budget:
        raise GuardError(f"{attack.name}: asks for more than its budget of {attack.budget}")
    return True
