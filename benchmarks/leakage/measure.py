"""All systems in all suites, and the figures that follow."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from benchmarks.leakage import protocol
from benchmarks.leakage.attacks import Attack
from benchmarks.leakage.case import Suite
from benchmarks.leakage.depends import made_of
from benchmarks.leakage.evidence import Evidence
from benchmarks.leakage.fluent import read
from benchmarks.leakage.gather import Progress, gather
from benchmarks.leakage.store import Store
from benchmarks.leakage.systems import System
from benchmarks.metrics import METRICS
from benchmarks.metrics.fluency import Fluency
from benchmarks.report import say
from benchmarks.result import Row
from guard.errors import DataError, GuardError
from guard.registry import nearest

TARGET, RETRAINED = "target", "retrained"


@dataclass(frozen=True)
class Missed:
    """A system that could not be measured in a suite.

    Attributes:
        system: Which.
        suite: Where.
        why: What happened.
    """

    system: str
    suite: str
    why: str


def measure(
    suites: Sequence[Suite],
    systems: Sequence[System],
    attacks: Sequence[Attack],
    store: Store,
    seed: int,
    attacked: int | None = None,
    also: Mapping[str, Sequence[Attack]] = MappingProxyType({}),
    note: Callable[[str], None] = say,
    reader: Callable[[Suite], System] | None = None,
) -> tuple[list[Row], list[Missed]]:
    """Measures systems.

    A system that cannot be started, or breaks down, is told of and left out; the others go on.

    Args:
        suites: What is forgotten and kept.
        systems: What is compared; the target and the retrained model come first where they are
            among them, since others are compared with them.
        attacks: In which ways what is forgotten is asked for.
        store: What was said before.
        seed: Of all chance.
        attacked: How many cases of a split are attacked, at most; all by default.
        also: Attacks on some systems besides, by the system's name.
        note: Is told what a reader of the figures should know.
        reader: Returns the model of a suite that says how fluent answers are; none by default.

    Returns:
        The figures, and what could not be measured.

    Raises:
        ProtocolError: The comparison would not be fair.
    """
    rows: list[Row] = []
    missed: list[Missed] = []
    for suite in suites:
        _known(suite)
        protocol.check(suite)
        for one in suite.notes:
            note(f"{suite.name}: {one}")
        evidence: list[Evidence] = []
        for system in systems:
            if (why := system.missing(suite)) is not None:
                note(f"{suite.name}: {system.name} does not apply: {why}")
                continue
            try:
                told, of = _progress(suite, system), made_of(system, suite)
                asked, ways = system.asked(suite), [*attacks, *also.get(system.name, ())]
                evidence.append(gather(system, asked, ways, store, seed, of, told, attacked))
            except protocol.ProtocolError:
                raise
            except GuardError as error:
                say(f"{suite.name}: {system.name}: failed: {error}")
                missed.append(Missed(system.name, suite.name, str(error)))
                continue
            for one in system.notes:
                note(f"{system.name}: {one}")
        if reader is not None and Fluency.NAME in suite.metrics:
            try:
                evidence = list(read(suite, evidence, reader(suite), store))
            except GuardError as error:
                say(f"{suite.name}: answers could not be read: {error}")
                note(f"{suite.name}: no other model could read the answers")
        rows += figures(suite, evidence)
    protocol.check_shares(rows)
    return rows, missed


def figures(suite: Suite, evidence: Sequence[Evidence]) -> Iterator[Row]:
    """Computes a suite's figures from what its systems said."""
    by_name = {one.system: one for one in evidence}
    target, retrained = by_name.get(TARGET), by_name.get(RETRAINED)
    for one in evidence:
        compared = replace(one, target=target, retrained=retrained)
        for name in suite.metrics:
            yield from METRICS[name].rows(compared)


def _known(suite: Suite) -> None:
    for name in suite.metrics:
        if name not in METRICS:
            raise DataError(f"{suite.name}: no metric {name!r}{nearest(name, METRICS)}")


def _progress(suite: Suite, system: System) -> Progress:
    """Tells a person how far it has come: a bar on a terminal, a line a part elsewhere."""
    began = time.monotonic()

    def told(part: str, done: int, of: int) -> None:
        passed = time.monotonic() - began
        left = f", {passed / done * (of - done) / 60:.0f} min left" if done else ""
        line = f"{suite.name}: {system.name}: {done} of {of}{left}{f': {part}' if part else ''}"
        if sys.stderr.isatty():
            end = "\n" if done == of else ""
            print(f"\r\033[Kbenchmarks: {line}", end=end, file=sys.stderr, flush=True)
        else:
            say(line)

    return told
