"""The turns that a plain and a guarded server take at the same prompts."""

import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.load import Client, Load
from benchmarks.prompts import Prompts
from guard.bundle import Bundle
from guard.demo.servers import MODEL, Server, running
from guard.models import resolve

Report = Callable[[str], None]
Blocks = Sequence[tuple["Case", list[str]]]

PATIENCE = 600  # seconds that a server may take to start
SYSTEMS = ("plain", "guarded")
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
        traffic = {0: "none flagged", 100: "all flagged"}
        return f"concurrency {self.concurrency}, " + traffic.get(
            self.percent, f"{self.percent} % flagged"
        )


@dataclass(frozen=True)
class Size:
    """How much is asked: pairs of turns, requests a turn by concurrency, tokens an answer."""

    suite: str
    pairs: int
    requests: dict[int, int]  # tens, so that 10 % are requests
    tokens: int
    decisions: int | None
    policies: tuple[str, ...] | None = None  # all that there are

    @property
    def cases(self) -> list[Case]:
        """Every kind of traffic, at every concurrency."""
        return [Case(users, percent) for percent in (0, 10, 100) for users in self.requests]


FULL = Size("full", 3, {1: 10, 16: 40, 32: 60}, 32, None)
QUICK = Size("quick", 1, {1: 10, 8: 10}, 8, 20, ("corrupt",))


@dataclass(frozen=True)
class Turn:
    """What one server did with the prompts of one case.

    Attributes:
        case: What was asked.
        system: Which server: plain or guarded.
        done: What came of it.
        misjudged: How many more or fewer prompts were changed than should have been, and how many
            answers are not the model's own though they should be.
    """

    case: Case
    system: str
    done: Load
    misjudged: int


def warm_up(prompts: Prompts) -> list[str]:
    """Chooses prompts for the first requests, which pay for what is only set up once."""
    return prompts.block(10, 1)


def blocks(prompts: Prompts, size: Size) -> Blocks:
    """Chooses what is asked: for each pair and case, prompts that were in none before."""
    chosen = []
    for _ in range(size.pairs):
        for case in size.cases:
            requests = size.requests[case.concurrency]
            chosen.append((case, prompts.block(requests, requests * case.percent // 100)))
    return chosen


def take_turns(
    bundle: Bundle, client: Client, first: list[str], chosen: Blocks, size: Size, say: Report
) -> list[Turn]:
    """Starts both servers, asks them in turns and stops them.

    Args:
        bundle: What guards the second; one target's intervention.
        client: What asks.
        first: Prompts to warm up with.
        chosen: What is asked.
        size: How long the answers are.
        say: Is told what is going on, a line at a time.

    Returns:
        The turns in order, plain before guarded in each pair. When something fails as early as in
        the warm-up, the turns of that.

    Raises:
        GuardError: A server or the client does not start.
    """
    folder = Path(tempfile.mkdtemp(prefix="guard-benchmark-"))
    keep = True  # for the logs, unless all goes well
    turns: list[Turn] = []
    model = str(resolve(MODEL))
    # A refusal has as many tokens as it has; all else is to have as many as was asked for.
    refuses = any(one.kind == "refuse" for one in bundle.manifest.targets[0].interventions)

    def turn(case: Case, system: str, server: Server, prompts: list[str]) -> Turn:
        before = server.log.stat().st_size
        done = client.load(server.url, MODEL, model, prompts, case.concurrency, size.tokens)
        with server.log.open("rb") as log:
            log.seek(before)
            changed = len(_CHANGED.findall(log.read()))
        expected = len(prompts) * case.percent // 100 if system == "guarded" else 0
        refused = expected if refuses else 0
        if refused == len(prompts):  # no token was generated
            done = replace(done, figures={k: v for k, v in done.figures.items() if k != "itl"})
        return Turn(case, system, done, abs(changed - expected) + max(done.short - refused, 0))

    try:
        with running(model, bundle.path, folder) as servers:
            _wait(servers, say)
            systems = dict(zip(SYSTEMS, servers, strict=True))
            warm = [turn(Case(8, 10), system, server, first) for system, server in systems.items()]
            if any(one.done.failures or one.misjudged for one in warm):
                return warm
            for number, (case, prompts) in enumerate(chosen):
                pair = number // len(size.cases) + 1
                say(f"pair {pair} of {size.pairs}: {case.split}")
                turns += [turn(case, system, one, prompts) for system, one in systems.items()]
        keep = any(one.done.failures or one.misjudged for one in turns)
    finally:
        if keep:
            say(f"logs: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return turns


def _wait(servers: Iterable[Server], say: Report) -> None:
    deadline = time.monotonic() + PATIENCE
    waiting = list(servers)
    for server in waiting:
        say(f"starting the {server.name} server")
    while waiting := [server for server in waiting if not server.ready()]:
        if time.monotonic() > deadline:
            raise waiting[0].failure(f"is not ready after {PATIENCE} s")
        time.sleep(0.5)
