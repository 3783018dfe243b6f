"""The turns that a plain and a guarded server take at the same prompts."""

import asyncio
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import Load, load
from benchmarks.prompts import Prompts
from guard.bundle import Bundle
from guard.demo.servers import MODEL, Server, running
from guard.guard import Guard
from guard.models import resolve

Report = Callable[[str], None]

PATIENCE = 600  # seconds that a server may take to start
# What the guarded server logs of a request that it changes or answers itself.
_CHANGED = re.compile(rb"guard: request \S+: (?!shadow)\w+ \(targets ")


@dataclass(frozen=True)
class Case:
    """One kind of traffic."""

    concurrency: int
    percent: int  # of the prompts, to be flagged

    @property
    def split(self) -> str:
        """What the rows call it."""
        traffic = f"{self.percent} % flagged" if self.percent else "none flagged"
        return f"concurrency {self.concurrency}, {traffic}"


CASES = [Case(concurrency, percent) for percent in (0, 10) for concurrency in (1, 8)]


@dataclass(frozen=True)
class Size:
    """How much is asked: pairs of turns, requests a turn by concurrency, tokens an answer."""

    suite: str
    pairs: int
    requests: dict[int, int]
    tokens: int
    decisions: int | None


FULL = Size("full", 3, {1: 8, 8: 24}, 32, None)
QUICK = Size("quick", 1, {1: 10, 8: 10}, 8, 20)


@dataclass(frozen=True)
class Turn:
    """What one server did with the prompts of one case."""

    case: Case
    system: str
    done: Load
    misjudged: int


def take_turns(bundle: Bundle, size: Size, seed: int, say: Report) -> list[Turn]:
    """Starts both servers, asks them in turns and stops them.

    Args:
        bundle: What guards the second.
        size: How much is asked.
        seed: Of the prompts.
        say: Is told what is going on, a line at a time.

    Returns:
        The turns in order, plain before guarded in each pair. When something fails as early as in
        the warm-up, the turns of that.

    Raises:
        GuardError: A server does not start.
    """
    say("choosing prompts")
    prompts = Prompts(Guard.load(bundle.path), seed)
    warm_up = prompts.block(10, 1)
    blocks = [
        (case, prompts.block(size.requests[case.concurrency], _flagged(case, size)))
        for _ in range(size.pairs)
        for case in CASES
    ]
    folder = Path(tempfile.mkdtemp(prefix="guard-benchmark-"))
    keep = True  # for the logs, unless all goes well
    turns = []
    try:
        with running(resolve(MODEL), bundle.path, folder) as servers:
            _wait(servers, say)
            systems = dict(zip(("plain", "guarded"), servers, strict=True))
            for system, server in systems.items():
                turns.append(_turn(Case(8, 10), system, server, warm_up, size))
            if any(turn.done.failures or turn.misjudged for turn in turns):
                return turns
            turns.clear()  # the first requests pay for what is only set up once
            for number, (case, block) in enumerate(blocks):
                say(f"pair {number // len(CASES) + 1} of {size.pairs}: {case.split}")
                for system, server in systems.items():
                    turns.append(_turn(case, system, server, block, size))
        keep = any(turn.done.failures or turn.misjudged for turn in turns)
    finally:
        if keep:
            say(f"logs: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return turns


def _turn(case: Case, system: str, server: Server, prompts: list[str], size: Size) -> Turn:
    before = server.log.stat().st_size
    done = asyncio.run(load(server.url, MODEL, prompts, case.concurrency, size.tokens))
    with server.log.open("rb") as log:
        log.seek(before)
        changed = len(_CHANGED.findall(log.read()))
    expected = len(prompts) * case.percent // 100 if system == "guarded" else 0
    return Turn(case, system, done, abs(changed - expected))


def _wait(servers: Iterable[Server], say: Report) -> None:
    deadline = time.monotonic() + PATIENCE
    waiting = list(servers)
    for server in waiting:
        say(f"starting the {server.name} server")
    while waiting := [server for server in waiting if not server.ready()]:
        if time.monotonic() > deadline:
            raise waiting[0].failure(f"is not ready after {PATIENCE} s")
        time.sleep(0.5)


def _flagged(case: Case, size: Size) -> int:
    return size.requests[case.concurrency] * case.percent // 100
