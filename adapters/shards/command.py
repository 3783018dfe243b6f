"""``python -m adapters shards``: an adapter from which a part can be deleted exactly."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from adapters.arguments import add_training, checked, given, grouped, needed, pair, rows_for
from adapters.objectives import OBJECTIVES
from adapters.settings import settings_for
from adapters.shards.manifest import ADAPTER, Manifest, check, read
from adapters.telling import progress
from adapters.train import add_objective
from guard.errors import DataError

if TYPE_CHECKING:
    from adapters.fit import Progress, Report

HELP = "train an adapter in shards, and delete what a shard taught it"
DESCRIPTION = """\
Train an adapter in shards, one a request, say, so that a shard can be deleted later as if it had
never been trained on (S3T). Each shard has decoder layers of its own, from the last one down, and
is trained on top of those before it. A policy serves

  intervene: {kind: adapter, path: FOLDER/adapter}

`shards delete FOLDER NAME` takes off the layers of a shard and of all that came after it, and
leaves, bit for bit, what training would have made without them. What came after is to be trained
anew, so what is likeliest to be deleted should come last; --orders trains several orders of the
shards, and a deletion leaves the best of them. Bundles and registries hold copies of adapters:
compile and register again after a deletion.
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Adds what this command takes."""
    does = parser.add_subparsers(dest="does", required=True)
    train = does.add_parser("train", help="train an adapter in shards", allow_abbrev=False)
    train.add_argument(
        "--shard", action="append", required=True, metavar="NAME=ROWS",
        help="rows that are deleted together; in the order in which they are learnt",
    )  # fmt: skip
    add_objective(train)
    add_training(train, out="the folder to make")
    train.add_argument("--layers", type=int, help="decoder layers of each shard; an even share")
    train.add_argument("--orders", type=int, default=1, help="rotations of the shards to train (1)")
    delete = does.add_parser("delete", help="delete what a shard taught")
    delete.add_argument("folder", type=Path, metavar="FOLDER")
    delete.add_argument("name", metavar="NAME")
    show = does.add_parser("list", help="list what is there, and check that it has not changed")
    show.add_argument("folder", type=Path, metavar="FOLDER")


def run(args: argparse.Namespace) -> int:
    """Does what was asked; returns the exit status."""
    if args.does == "train":
        return _train(args)
    if args.does == "delete":
        from adapters.shards.delete import delete_shard

        left = delete_shard(args.folder, args.name)
        print(f"deleted: {args.name}; compile and register again what holds a copy")
    else:
        left = read(args.folder)
        check(args.folder, left)
    _say(args.folder, left)
    return 0


def _train(args: argparse.Namespace) -> int:
    from adapters.arguments import model_of
    from adapters.shards.make import train_shards

    kind = OBJECTIVES.get(args.objective)
    chosen = given(args)
    settings = settings_for(kind, chosen)
    own, others = grouped(args.option)
    if others:
        raise DataError(f"--option {min(others)}: shards take options of the objective alone")
    options_ = checked(kind.Options, own, args.objective)
    named: dict[str, str] = {}
    for name, source in map(_shard, args.shard):
        if name in named:
            raise DataError(f"--shard {name}: is given twice")
        named[name] = source
    beside = next(iter(named.values()))
    needed(args.retain, args.objective if kind.needs_retain else None, chosen, beside)
    cut = rows_for(args, settings)
    shards = {name: cut(source) for name, source in named.items()}
    total = args.orders * len(shards)
    with progress() as report:

        def of(order: int, stage: int) -> "Report":
            done = order * len(shards) + stage

            def told(now: "Progress") -> None:
                if now.step == 1:
                    print(f"stage {done + 1} of {total}", file=sys.stderr, flush=True)
                report(now)

            return told

        made = train_shards(
            model_of(args), shards, cut(args.retain) if args.retain else [], args.out, settings,
            lambda: kind(options_), layers=args.layers, orders=args.orders, resume=args.resume,
            report=of,
        )  # fmt: skip
    if args.json:
        print(json.dumps({"folder": str(args.out), **asdict(made)}, indent=1))
    else:
        _say(args.out, made)
    return 0


def _say(root: Path, manifest: Manifest) -> None:
    taught = manifest.taught
    for shard in manifest.shards:
        state = "served" if shard.name in taught else "to be trained anew"
        print(f"{shard.name}  {shard.rows} rows  {state}")
    if taught:
        print(root / ADAPTER)
    else:
        print("nothing is left to serve", file=sys.stderr)


def _shard(text: str) -> tuple[str, str]:
    name, _ = pair(text)  # a source may hold an equals sign, and is never JSON
    return name, text.partition("=")[2]
