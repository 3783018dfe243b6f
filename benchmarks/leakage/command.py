"""What still leaks, under which attack, at what cost to everything else, compared with what?

`docs/evaluation.md` says how it is measured, and what the figures mean.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.join import SOME
from benchmarks.leakage import protocol
from benchmarks.leakage.attacks import ATTACKS, Attack
from benchmarks.leakage.attacks.drawn import Drawn
from benchmarks.leakage.attacks.sampling import Sampling
from benchmarks.leakage.brief import brief
from benchmarks.leakage.case import Loaded, Source
from benchmarks.leakage.fluent import reader_of
from benchmarks.leakage.measure import Missed, measure
from benchmarks.leakage.page import write_page
from benchmarks.leakage.store import Store
from benchmarks.leakage.suites import SUITES, load
from benchmarks.leakage.systems import ENDPOINT, SYSTEMS, Options, Remote, chosen
from benchmarks.leakage.systems.engine import Settings
from benchmarks.leakage.table import table
from benchmarks.report import Run, say
from benchmarks.result import Result
from benchmarks.suites.files import data_folder
from benchmarks.world import MODELS, models_folder
from guard.errors import DataError, GuardError
from guard.registry import nearest

__all__ = ["DESCRIPTION", "HELP", "brief", "extent", "options", "run", "table"]

HELP = "what still leaks, under which attack, at what cost"
DESCRIPTION = """\
Ask systems what they are to have forgotten, as it was learned and in every way of the attacks, and
what they are to keep; compare them with the model that never learned it. docs/evaluation.md says
how, and what the figures mean. --work keeps what was said (forgotten things among it), and a run
that was broken off goes on from there.

examples:
  python -m benchmarks leakage --quick
  python -m benchmarks leakage --work work --out leakage.json --page leakage.html
  python -m benchmarks leakage --system target --system refuse --attack paraphrase
  python -m benchmarks leakage --suite tofu-10 --target MODEL --retrained MODEL --dtype bfloat16
  python -m benchmarks leakage --endpoint http://host:8000/v1 --model NAME --key OPENAI_API_KEY
  python -m benchmarks leakage --list
"""
SUITE = "tofu-mini"
_NO_YARDSTICK = "no retrained model"
# A trial, of a few minutes on two cores.
QUICK_SIZE = 4
QUICK_SYSTEMS = ("target", "retrained", "refuse", "corrupt")
QUICK_ATTACKS = ("paraphrase", "role play", "base64", "prefix injection", "turns with a pronoun")


def options(parser: argparse.ArgumentParser) -> None:
    """Adds what only this benchmark takes."""
    add = parser.add_argument
    add("--suite", action="append", metavar="NAME", help=f"a task ({SUITE}); may be repeated")
    add("--system", action="append", metavar="NAME", help="only this system; may be repeated")
    add("--attack", action="append", metavar="NAME", help="only this attack, or: none")
    add("--list", action="store_true", help="name suites, systems and attacks, and end")
    add("--data", type=Path, metavar="FOLDER", help="the data sets ($GUARD_DATA by default)")
    add("--models", type=Path, metavar="FOLDER", help=f"adapters of {SUITE} (${MODELS} by default)")
    add("--work", type=Path, metavar="FOLDER", help="keep what was said here, and go on from it")
    add("--page", type=Path, metavar="PATH", help="write the report there, one HTML file")
    add("--size", type=int, metavar="N", help="at most so many cases of a split")
    add("--attacked", type=int, metavar="N", help="attack at most so many; ask about all as it is")
    add("--draws", type=int, metavar="N", help="play each attack N times more, at temperature 1")
    add("--drawn", action="append", metavar="NAME", help="of this system alone; may be repeated")
    models = parser.add_argument_group("models in place of the suite's own")
    for name, what in (
        ("target", "has learned what is to be forgotten"),
        ("retrained", "never did: the yardstick"),
        ("base", "never learned anything of the suite"),
    ):
        models.add_argument(f"--{name}", metavar="MODEL", help=f"the model that {what}")
    models.add_argument("--dtype", default=Settings.dtype, help=f"of engines ({Settings.dtype})")
    parts = parser.add_argument_group("trained parts; trained where they are not given")
    parts.add_argument("--memory", type=Path, metavar="FOLDER", help="a LoRA that remembers")
    parts.add_argument("--soft-prompt", type=Path, metavar="FILE", help="a trained soft prompt")
    remote = parser.add_argument_group("an OpenAI-compatible endpoint, ours or not")
    remote.add_argument("--endpoint", metavar="URL", help="its address, ends in /v1")
    remote.add_argument("--model", metavar="NAME", help="what it calls the model")
    remote.add_argument("--key", metavar="VARIABLE", help="name of the variable with its key")
    remote.add_argument("--token", metavar="VARIABLE", help="that of the evaluation token")
    remote.add_argument("--concurrency", type=int, default=8, metavar="N", help="requests (8)")


def run(args: argparse.Namespace) -> int:
    """Measures, prints and writes; returns the exit status."""
    if args.list:
        _list()
        return 0
    measured = Run("leakage", args)
    if args.page is not None and (args.page.is_dir() or not args.page.parent.is_dir()):
        raise GuardError(f"--page: {args.page}: give a file in a folder that exists")
    attacks = _attacks(args)
    systems = chosen(_systems(args), _options(args))
    # Whoever asks an endpoint may have neither the models here nor an engine.
    reader = partial(reader_of, settings=Settings(args.dtype)) if not args.endpoint else None
    also = _drawn(args, attacks, [system.name for system in systems])
    wanted = args.suite or [SUITE]
    loaded = load(wanted, _source(args))
    notes: list[str] = []

    def note(line: str) -> None:
        if line not in notes:
            notes.append(line)
            say(line)

    for missing in loaded.missing:
        say(f"{missing.name}: missing: {missing.why}")
        notes.append(f"{missing.name}: was not there")  # where it was looked for is nobody else's
    if not loaded.suites:
        raise DataError("no suite could be read")
    with tempfile.TemporaryDirectory(prefix="guard-leakage-") as temp:
        store = Store(args.work or Path(temp))
        rows, missed = measure(
            loaded.suites, systems, attacks, store, args.seed, args.attacked, also, note, reader
        )
    notes += [f"{one.suite}: {one.system} could not be measured" for one in missed]
    measured_of = _extent(args, wanted, loaded, missed)

    def fair(result: Result) -> None:
        protocol.check_result(result, wanted, loaded, args.size, quick=args.quick)

    result = measured.finish(measured_of, rows, table, fair, notes)
    if args.page is not None:
        write_page(result, args.page)
    return 1 if missed else 0


def extent(result: Result) -> str:
    """Says how much a result is that was joined of parts: of all systems, or still of some."""
    held: dict[str, set[str]] = {}
    for row in result.rows:
        held.setdefault(row.system, set()).update([row.attack] if row.attack else ())
    whole = all(held.get(name, set()) >= set(ATTACKS) for name in SYSTEMS if name != ENDPOINT)
    told = result.suite.removeprefix("part: ").split("; ")
    left = [one for one in told if one != SOME] if whole else told
    return f"part: {'; '.join(left)}" if left else protocol.FULL


def _extent(
    args: argparse.Namespace, wanted: Sequence[str], loaded: Loaded, missed: Sequence[Missed]
) -> str:
    """Says how much was measured; ``full`` is everything that there is."""
    told = protocol.extent(wanted, loaded, args.size, quick=args.quick)
    if told != protocol.FULL:
        return told
    less = [SOME] if args.system or args.attack or args.endpoint or missed else []
    if any(suite.models.retrained is None for suite in loaded.suites):
        less.append(_NO_YARDSTICK)
    if args.attacked is not None:
        less.append(f"attacks on at most {args.attacked} cases of a split")
    return f"part: {'; '.join(less)}" if less else protocol.FULL


def _attacks(args: argparse.Namespace) -> list[Attack]:
    names = args.attack or (QUICK_ATTACKS if args.quick else tuple(ATTACKS))
    for name in names:
        if name not in ATTACKS and name != "none":
            raise GuardError(f"--attack: no attack {name!r}{nearest(name, ATTACKS)}")
    return [ATTACKS[name] for name in names if name != "none"]


def _drawn(
    args: argparse.Namespace, attacks: Sequence[Attack], systems: Sequence[str]
) -> dict[str, list[Attack]]:
    """The attacks that are played several times, by the system that they are played on."""
    if args.draws is None:
        if args.drawn:
            raise GuardError("--drawn: say with --draws how often")
        return {}
    if args.draws < 2:
        raise GuardError("--draws: give 2 or more")
    for name in args.drawn or ():
        if name not in systems:
            raise GuardError(f"--drawn: {name!r} is not measured{nearest(name, systems)}")
    drawn: list[Attack] = [
        Drawn(attack, args.draws) for attack in attacks if not isinstance(attack, Sampling)
    ]
    return dict.fromkeys(args.drawn or systems, drawn)


def _systems(args: argparse.Namespace) -> list[str]:
    if args.system:
        return list(args.system)
    if args.endpoint is not None:
        return [ENDPOINT]
    return list(QUICK_SYSTEMS) if args.quick else []


def _options(args: argparse.Namespace) -> Options:
    remote = None
    if args.endpoint is not None:
        if args.model is None:
            raise GuardError("--endpoint: say with --model what it calls the model")
        remote = Remote(args.endpoint, args.model, args.key, args.token, args.concurrency)
    return Options(
        engine=Settings(dtype=args.dtype),
        memory=args.memory,
        soft_prompt=args.soft_prompt,
        parts=args.work and args.work / "parts",
        remote=remote,
        seed=args.seed,
    )


def _source(args: argparse.Namespace) -> Source:
    for name in ("size", "attacked"):
        if (given := getattr(args, name)) is not None and given < 1:
            raise GuardError(f"--{name}: give 1 or more")
    if args.quick and args.size is None:
        args.size = QUICK_SIZE
    return Source(
        data=data_folder(args.data),
        models=models_folder(args.models),
        target=args.target,
        retrained=args.retrained,
        base=args.base,
        size=args.size,
        seed=args.seed,
    )


def _list() -> None:
    for title, names in (("suites", SUITES), ("systems", SYSTEMS), ("attacks", ATTACKS)):
        sys.stdout.write(f"{title}:\n" + "".join(f"  {name}\n" for name in names))
