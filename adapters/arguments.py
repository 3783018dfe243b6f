"""What the commands that train have in common: their arguments, and what those name."""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from adapters.settings import Settings, said
from guard.errors import DataError

if TYPE_CHECKING:
    from guard.data import Row
    from guard.options import Strict

# What has a flag of its own; --set reaches every setting.
_FLAGS = {
    "epochs": "passes over the forget rows",
    "max_steps": "steps after which it ends in any case",
    "learning_rate": "of AdamW, at its highest",
    "rank": "of the LoRA",
    "batch": "rows in a forward pass",
    "accumulate": "forward passes in a step",
    "seed": "of everything that is drawn by chance",
}


@dataclass(frozen=True)
class Sources:
    """What a command line names.

    Attributes:
        model: The model's folder.
        forget: What is forgotten.
        retain: What must be kept; may be empty.
    """

    model: Path
    forget: "Sequence[Row]"
    retain: "Sequence[Row]"


def add_sources(parser: argparse.ArgumentParser, *, out: str = "the PEFT folder to make") -> None:
    """Adds what every training of one forget set takes.

    Args:
        parser: The command's.
        out: What is made.
    """
    parser.add_argument("--forget", required=True, metavar="ROWS", help="what is forgotten")
    add_training(parser, out=out)


def add_training(parser: argparse.ArgumentParser, *, out: str) -> None:
    """Adds what every training takes beside what is to be forgotten."""
    parser.add_argument("--model", required=True, help="a Hugging Face id, a folder, a built-in")
    parser.add_argument("--retain", metavar="ROWS", help="what must be kept")
    parser.add_argument("--out", required=True, type=Path, help=out)
    for field, help_ in _FLAGS.items():
        parser.add_argument(f"--{field.replace('_', '-')}", metavar="N", help=help_)
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE",
        help=f"any setting: {', '.join(Settings.model_fields)}",
    )  # fmt: skip
    parser.add_argument("--resume", action="store_true", help="take up what was broken off")
    parser.add_argument("--json", action="store_true", help="print what came of it as JSON")


def given(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that the command line names.

    Raises:
        DataError: One is named twice.
    """
    flags = {field: getattr(args, field) for field in _FLAGS}
    found = {field: value for field, value in flags.items() if value is not None}
    for name, value in map(pair, args.set):
        if name in found:
            raise DataError(f"--set {name}: is given twice")
        found[name] = value
    return found


def sources(args: argparse.Namespace, settings: Settings) -> Sources:
    """Reads what `add_sources` named; passages are cut by the model's own tokens.

    Raises:
        GuardError: The model or a file is not there, or a row is wrong.
    """
    model, cut = model_of(args), rows_for(args, settings)
    return Sources(model, cut(args.forget), cut(args.retain) if args.retain else [])


def model_of(args: argparse.Namespace) -> Path:
    """The folder of the model that is named."""
    from guard.identity import model_folder
    from guard.models import resolve

    return model_folder(resolve(args.model))


def rows_for(args: argparse.Namespace, settings: Settings) -> Any:
    """A function that reads a source of rows for the model that is named."""
    from adapters.data import read
    from adapters.data.tokens import own_chunks

    chunks = own_chunks(model_of(args), settings.tokens)
    return lambda source: read(source, chunks)


def needed(retain: str | None, by: str | None, chosen: Mapping[str, Any], beside: str = "") -> None:
    """Refuses a training that wants retain rows and has none.

    Args:
        retain: What ``--retain`` says.
        by: What needs them in any case; None where nothing does.
        chosen: The settings that are given.
        beside: The source of the forget rows, whose layout may have rows to retain.

    Raises:
        DataError: They are missing.
    """
    if retain or not (by or chosen.get("retain", "none") != "none"):
        return
    from adapters.data import matching

    known = matching(beside) if beside else None
    hint = f"; {beside} has {known}" if known else ""
    why = f"{by} needs them" if by else f"retain={chosen['retain']} needs them"
    raise DataError(f"--retain: {why}: give rows that must be kept{hint}")


def pair(text: str) -> tuple[str, Any]:
    """Parts ``name=value``; a value that is JSON is read as such.

    Raises:
        DataError: It is none.
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise DataError(f"{name or '--option'}: say NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def grouped(pairs: Sequence[str]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Options of the objective, and those of whatever else there is, by kind."""
    own: dict[str, Any] = {}
    others: dict[str, dict[str, Any]] = {}
    for name, value in map(pair, pairs):
        kind, dot, option = name.partition(".")
        if dot:
            others.setdefault(kind, {})[option] = value
        else:
            own[name] = value
    return own, others


def checked(options: "type[Strict]", values: Mapping[str, Any], kind: str) -> Any:
    """Options as they are declared.

    Raises:
        DataError: One is unknown or holds what it cannot.
    """
    try:
        return options.model_validate(dict(values))
    except ValidationError as error:
        raise DataError(said(error, f"--option of {kind}")) from None
