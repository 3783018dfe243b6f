"""``python -m adapters assistant``: a model that is served beside another, for `offset`."""

import argparse
import sys
from typing import Any

from adapters.arguments import add_sources, checked, given, grouped, needed, sources
from adapters.objectives import OBJECTIVES
from adapters.settings import settings_for
from adapters.small import ALPHA, OBJECTIVE, SETTINGS
from adapters.telling import progress, say
from adapters.uld import LAYERS
from guard.errors import DataError

HELP = "train a model whose logits are taken off, or added"
DESCRIPTION = """\
Train a model that is served beside another, for flagged requests alone.

--kind uld: the first layers and the head of the served model, made to remember the forget rows and
to be uniform elsewhere (ULD). Its logits are taken off:

  intervene: {kind: offset, assistant: FOLDER}

--kind small: a small model of its own (--small; 15M to 110M parameters, with whatever tokenizer),
all of it trained beside the served one, which is frozen (CMC). Its logits are added as they were in
training, which is why nothing is filtered:

  intervene: {kind: offset, assistant: FOLDER, alpha: -1, filter: 0}

What it learned may be what is to be forgotten: keep it as you keep the forget set.
"""
# Options of one kind alone, with their defaults.
_OWN: dict[str, dict[str, Any]] = {
    "uld": {"layers": LAYERS, "uniform": 5.0, "paraphrases": 2, "wrong": 2},
    "small": {"small": None, "objective": OBJECTIVE, "option": [], "alpha": ALPHA},
}


def options(parser: argparse.ArgumentParser) -> None:
    """Adds what this command takes."""
    add_sources(parser, out="the model folder to make")
    parser.add_argument("--kind", choices=tuple(_OWN), default="uld", help="of assistant")
    uld = parser.add_argument_group("--kind uld")
    own = _OWN["uld"]
    uld.add_argument("--layers", type=int, help=f"of the served model, the first ({own['layers']})")
    uld.add_argument("--uniform", type=float, help=f"weight of being uniform ({own['uniform']})")
    uld.add_argument("--paraphrases", type=int, help="of each question, at most (2)")
    uld.add_argument("--wrong", type=int, help="wrong answers to each, at most (2)")
    small = parser.add_argument_group("--kind small")
    small.add_argument("--small", metavar="MODEL", help="what is trained: an id, a folder")
    small.add_argument("--objective", metavar="NAME", help=f"see `objectives` ({OBJECTIVE})")
    small.add_argument("--option", action="append", metavar="NAME=VALUE", help="of the objective")
    small.add_argument("--alpha", type=float, help=f"how much of it is added ({ALPHA:g})")


def run(args: argparse.Namespace) -> int:
    """Trains and prints; returns the exit status."""
    for kind, own in _OWN.items():
        for name, default in own.items():
            if getattr(args, name) is None:
                setattr(args, name, default)
            elif kind != args.kind:
                raise DataError(f"--{name}: is of --kind {kind}; say that, or leave it out")
    return _small(args) if args.kind == "small" else _uld(args)


def _uld(args: argparse.Namespace) -> int:
    from adapters.uld import train_assistant

    settings = settings_for(OBJECTIVES.get("uld"), given(args))
    found = sources(args, settings)
    with progress() as report:
        fitted = train_assistant(
            found.model,
            found.forget,
            found.retain,
            args.out,
            settings,
            layers=args.layers,
            uniform=args.uniform,
            paraphrases=args.paraphrases,
            wrong=args.wrong,
            resume=args.resume,
            report=report,
        )
    say(args.out, fitted, as_json=args.json)
    return 0


def _small(args: argparse.Namespace) -> int:
    from adapters.small import train_small
    from guard.identity import model_folder
    from guard.models import resolve

    if args.small is None:
        raise DataError("--small: give the model that is to be trained, of 15M to 110M parameters")
    kind = OBJECTIVES.get(args.objective)
    chosen = given(args)
    settings = settings_for(kind, {**SETTINGS, **chosen})
    own, others = grouped(args.option)
    if others:
        raise DataError(f"--option {min(others)}: a small model takes options of the objective")
    objective = kind(checked(kind.Options, own, args.objective))
    needed(args.retain, args.objective if kind.needs_retain else None, chosen, args.forget)
    found = sources(args, settings)
    with progress() as report:
        fitted = train_small(
            found.model,
            model_folder(resolve(args.small)),
            found.forget,
            found.retain,
            args.out,
            settings,
            objective,
            alpha=args.alpha,
            resume=args.resume,
            report=report,
        )
    say(args.out, fitted, as_json=args.json)
    if not args.json:
        policy = f"assistant: {args.out}, alpha: {-args.alpha:g}, filter: 0"
        print(f"intervene: {{kind: offset, {policy}}}", file=sys.stderr)
    return 0
