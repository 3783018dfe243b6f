"""``python -m adapters``: one sub-command for each thing that is made offline."""

import argparse
import sys
from collections.abc import Sequence
from typing import Protocol

from adapters import (
    assistant,
    detector,
    memory,
    merge,
    registering,
    retrain,
    scale,
    soft_prompt,
    train,
)
from adapters.corruption import command as corruption
from adapters.machine import flushed_denormals
from adapters.project import command as project
from adapters.shards import command as shards
from guard.ending import read_or_ended
from guard.errors import GuardError

_DESCRIPTION = """\
Train and make what the guard serves: adapters from a forget set. Everything that comes out is for
its owner alone, and is written whole or not at all.

exit status: 0 if it was made, 2 if not (one line says why), 130 if it was interrupted.
"""
_OBJECTIVES = "List the objectives of `train`, their options and the settings that they change."


class Command(Protocol):
    """What the module of a command holds."""

    HELP: str
    DESCRIPTION: str

    def options(self, parser: argparse.ArgumentParser) -> None:
        """Adds what it takes."""

    def run(self, args: argparse.Namespace) -> int:
        """Does it; returns the exit status."""


# A command is one file and one line here.
COMMANDS: dict[str, Command] = {
    "train": train,
    "memory": memory,
    "retrain": retrain,
    "merge": merge,
    "assistant": assistant,
    "soft-prompt": soft_prompt,
    "corruption": corruption,
    "scale": scale,
    "project": project,
    "shards": shards,
    "detector": detector,
    "registry": registering,
}
_LIGHT = ("registry",)  # computes nothing, so torch need not be imported


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    args = _parser().parse_args(argv)
    try:
        return read_or_ended(lambda: _run(args))
    except GuardError as error:
        print(f"adapters: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("adapters: interrupted", file=sys.stderr)
        return 130


def _run(args: argparse.Namespace) -> int:
    if args.command == "objectives":
        return train.objectives(args)
    if args.command in _LIGHT:
        return COMMANDS[args.command].run(args)
    with flushed_denormals():
        return COMMANDS[args.command].run(args)


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "python -m adapters", description=_DESCRIPTION, formatter_class=raw, allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        sub = commands.add_parser(
            name,
            help=command.HELP,
            description=command.DESCRIPTION,
            formatter_class=raw,
            allow_abbrev=False,
        )
        command.options(sub)
    commands.add_parser("objectives", help="what train can be told to do", description=_OBJECTIVES)
    return parser


if __name__ == "__main__":
    sys.exit(main())
