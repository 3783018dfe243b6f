"""Plays attacks on many cases at once: they go forward in step, so that batches are large."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

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
        number: Which, of all that are played.
        attack: By what.
        play: Its conversation.
        asks: What it asks next.
        drawn: How many answers it has had drawn.
    """

    number: int
    attack: Attack
    play: Play
    asks: Sequence[Ask] = ()
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
    """Asks a system about each case in an attack's way; see `play_all`."""
    (found,) = play_all(
        [(attack, cases)], others, running, seed, batch=batch, progress=progress, heard=heard
    )
    return found


def play_all(
    attacks: Sequence[tuple[Attack, Sequence[Case]]],
    others: Sequence[Case],
    running: Running,
    seed: int,
    *,
    batch: int = BATCH,
    progress: Progress = lambda done, of: None,
    heard: Heard = lambda number, asks, answers: None,
) -> list[tuple[tuple[Answer, ...], ...]]:
    """Asks a system about cases in the ways of several attacks, all at once.

    What is asked about a case depends on the seed, the attack, the case, the others and the
    system's answers; not on what is played beside it, nor on the batches. An answer that is
    ``failed`` goes back to the attack like any other.

    Args:
        attacks: How, and what about; an attack applies to each of its cases.
        others: What the attacker knows of other cases; a case itself is not told of itself.
        running: The system.
        seed: Of all chance.
        batch: The most requests that the system is given at a time.
        progress: Is told after each step.
        heard: Is told all that is said; cases are numbered through all attacks.

    Returns:
        For each attack, for each case, the answers that are judged, at least one.

    Raises:
        GuardError: An attack does not apply to a case or goes over its budget, or the system is
            gone.
    """
    judged: dict[int, tuple[Answer, ...]] = {}
    held: list[_Open] = []
    try:
        for attack, cases in attacks:
            for number, case in enumerate(cases):
                if not attack.applies(case):
                    raise GuardError(f"{attack.name}: does not apply to case {number}")
                begun = attack.play(case, known(case, others), chance(attack, case, seed))
                held.append(_Open(len(held), attack, begun))
        going = [one for one in held if _next(one, None, judged)]
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
                if _next(one, told, judged):
                    still.append(one)
            going = still
            progress(len(judged), len(held))
    finally:
        for one in held:
            one.play.close()
    found = iter(judged[number] for number in range(len(held)))
    return [tuple(next(found) for _ in cases) for _, cases in attacks]


def known(case: Case, others: Sequence[Case]) -> list[Case]:
    """Returns what an attacker knows of other cases; a case itself is not told of itself."""
    return [other for other in others if other != case]


def chance(attack: Attack, case: Case, seed: int) -> random.Random:
    """Returns the chance that a play begins with."""
    return random.Random(f"{seed} {attack.name} {case.group} {case.question}")


def given(attack: Attack, case: Case, others: Sequence[Case], seed: int) -> Case:
    """Returns the case with what the attacker says of its answer in asking."""
    told = attack.gives(case, known(case, others), chance(attack, case, seed))
    return replace(case, given=told)


def _next(
    one: _Open,
    told: Sequence[Sequence[Answer]] | None,
    judged: dict[int, tuple[Answer, ...]],
) -> bool:
    """Takes a play one step on; False when it has ended, and what is judged is noted."""
    attack = one.attack
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
