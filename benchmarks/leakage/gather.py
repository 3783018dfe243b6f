"""One system in one suite: everything is asked and scored, once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.leakage import protocol
from benchmarks.leakage.ask import Answer, Forced, Likelihood
from benchmarks.leakage.attacks import Attack
from benchmarks.leakage.attacks.wording import request
from benchmarks.leakage.case import Case, Suite, some
from benchmarks.leakage.evidence import Answered, Evidence, Scored
from benchmarks.leakage.play import given, play_all
from benchmarks.leakage.store import Store, fingerprint
from benchmarks.leakage.systems.base import Running, System

FORGET = "forget"
# What an attacker may know of, as far as an attack says so; never the case that is asked about.
OTHERS = ("retain", FORGET)
_BATCH = 256  # requests, or answers to be scored
_TOGETHER = 8  # attacks that are played at once; what was said is kept after each such lot
T = TypeVar("T")

# Told which part of a system's is done, and how many there are.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Part:
    """Something to be asked or scored.

    Attributes:
        kind: ``ask``: each case as it is; ``attack``; ``score``.
        split: Of the suite.
        attack: In which way it is asked.
        most: How many cases are asked about, where not all are.
    """

    kind: str
    split: str
    attack: Attack | None = None
    most: int | None = None

    @property
    def label(self) -> str:
        """What a person is told of it."""
        return f"{self.split}, {self.attack.name if self.attack else self.kind}"


def parts(
    suite: Suite, system: System, attacks: Sequence[Attack], attacked: int | None = None
) -> Iterator[Part]:
    """Yields what is asked of a system in a suite.

    Attacks are on what is forgotten alone. Scored are splits whose cases have answers, where the
    system can tell how likely they are.

    Args:
        suite: The suite.
        system: The system.
        attacks: In which ways it is asked, besides as it is.
        attacked: How many cases of a split are attacked, at most.
    """
    for split, cases in suite.splits.items():
        if any(case.question for case in cases):
            yield Part("ask", split)
    for split, cases in suite.splits.items():
        if system.scores and any(case.answer for case in cases):
            yield Part("score", split)
    for split, cases in suite.splits.items():
        if protocol.forgotten(split):
            for attack in attacks:
                if any(attack.applies(case) for case in cases):
                    yield Part("attack", split, attack, attacked)


def gather(
    system: System,
    suite: Suite,
    attacks: Sequence[Attack],
    store: Store,
    seed: int,
    made_of: Mapping[str, Any],
    progress: Progress,
    attacked: int | None = None,
) -> Evidence:
    """Asks a system everything that is not in the store yet, and returns all of it.

    Args:
        system: The system; it is started only if there is something to ask.
        suite: What about.
        attacks: In which ways, besides as it is.
        store: What was said before; what is said now goes there at once.
        seed: Of all chance.
        made_of: What else the answers depend on; see `benchmarks.leakage.depends`.
        progress: Is told of each part.
        attacked: How many cases of a split are attacked, at most; all by default.

    Raises:
        GuardError: The system cannot be started or is gone; or the comparison would not be fair.
    """
    wanted = list(parts(suite, system, attacks, attacked))
    keys = [_key(part, system, suite, seed, made_of) for part in wanted]
    said = [store.read(key) for key in keys]
    left = [number for number, held in enumerate(said) if held is None]
    if left:
        folder: Path = store.place(suite.name, system.name, "made")
        with system.start(suite, folder) as running:
            for lot in _lots(left, wanted):
                progress(wanted[lot[0]].label, left.index(lot[0]), len(left))
                made = _made([wanted[number] for number in lot], suite, running, seed)
                for number, held in zip(lot, made, strict=True):
                    said[number] = held
                    store.write(keys[number], held)
        progress("", len(left), len(left))
    answered: dict[tuple[str, str | None], Answered] = {}
    scored: dict[str, Scored] = {}
    for part, held in zip(wanted, said, strict=True):
        cases = _asked(part, suite)
        if part.kind == "score":
            scored[part.split] = _scored(cases, held)
        else:
            answers = tuple(tuple(Answer(*one) for one in some) for some in held)
            if (attack := part.attack) is not None:
                others = _others(suite)
                cases = tuple(given(attack, case, others, seed) for case in cases)
            answered[part.split, attack.name if attack else None] = Answered(cases, answers)
    return Evidence(suite, system.name, answered, scored, seed=seed)


def _key(
    part: Part, system: System, suite: Suite, seed: int, made_of: Mapping[str, Any]
) -> dict[str, Any]:
    cases = [case.known_by() for case in _asked(part, suite)]
    others = [case.known_by() for case in _others(suite)] if part.attack else []
    return {
        "suite": suite.name,
        "system": system.name,
        "kind": part.kind,
        "split": part.split,
        "attack": part.attack.name if part.attack else None,
        "seed": seed,
        "made_of": dict(made_of),
        "cases": fingerprint([cases, others]),
        "given": fingerprint([asdict(suite.given), asdict(suite.models)]),
    }


def _asked(part: Part, suite: Suite) -> tuple[Case, ...]:
    cases = suite.splits[part.split]
    if part.attack is not None:
        return some([case for case in cases if part.attack.applies(case)], part.most)
    if part.kind == "score":
        return tuple(case for case in cases if case.answer)
    return tuple(case for case in cases if case.question)  # without one, a text is only scored


def _others(suite: Suite) -> list[Case]:
    return [case for split in OTHERS for case in suite.splits.get(split, ())]


def _lots(left: Sequence[int], wanted: Sequence[Part]) -> Iterator[list[int]]:
    """Attacks are made several at a time, which fills the batches; anything else by itself."""
    attacks = [number for number in left if wanted[number].attack is not None]
    yield from ([number] for number in left if wanted[number].attack is None)
    for at in range(0, len(attacks), _TOGETHER):
        yield attacks[at : at + _TOGETHER]


def _made(lot: Sequence[Part], suite: Suite, running: Running, seed: int) -> list[Any]:
    first, cases = lot[0], _asked(lot[0], suite)
    if first.kind == "score":
        return [_scores(cases, running)]
    told: Sequence[Sequence[Sequence[Answer]]]
    if first.attack is None:
        asks = [request(case, case.question) for case in cases]
        told = [[one for batch in _batches(asks) for one in running.ask(batch)]]
    else:
        attacks = [(part.attack, _asked(part, suite)) for part in lot if part.attack is not None]
        told = play_all(attacks, _others(suite), running, seed)
    return [[[[one.text, one.state] for one in some] for some in part] for part in told]


def _scores(cases: Sequence[Case], running: Running) -> list[Likelihood]:
    forced = _forced(cases)
    protocol.check_forced(cases, forced)
    protocol.check_causal(running, forced)
    return [one for batch in _batches(forced) for one in running.score(batch)]


def _forced(cases: Sequence[Case]) -> list[Forced]:
    """What is scored: of each case its answer, that in other words, the wrong ones, the options."""
    return [Forced(case.question, text, case.passage) for case in cases for text in _texts(case)]


def _texts(case: Case) -> list[str]:
    right = [] if case.right is None else [case.right]
    return [case.answer, *right, *case.wrong, *case.options]


def _scored(cases: tuple[Case, ...], held: Sequence[Sequence[float] | None]) -> Scored:
    told = iter(held)

    def some(count: int) -> tuple[Likelihood, ...]:
        found = (next(told) for _ in range(count))
        return tuple(None if one is None else tuple(one) for one in found)

    rows = []
    for case in cases:
        (answer,), right = some(1), some(int(case.right is not None))
        rows.append((answer, right, some(len(case.wrong)), some(len(case.options))))
    return Scored(
        cases=cases,
        answer=tuple(row[0] for row in rows),
        right=tuple(row[1][0] if row[1] else None for row in rows),
        wrong=tuple(row[2] for row in rows),
        options=tuple(row[3] for row in rows),
    )


def _batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for at in range(0, len(items), _BATCH):
        yield items[at : at + _BATCH]
