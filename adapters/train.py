"""``python -m adapters train``: an adapter from an objective, and ``objectives``: what there is."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.arguments import add_sources, checked, given, grouped, needed, sources
from adapters.objectives import OBJECTIVES
from adapters.regularizers import REGULARIZERS
from adapters.settings import settings_for
from adapters.telling import progress, say
from guard.errors import DataError

if TYPE_CHECKING:
    from adapters.attribution import Wagle
    from adapters.regularizers.base import Regularizer

HELP = "train an adapter with an objective"
DESCRIPTION = """\
Train a LoRA so that a model behaves as if it had never learned the forget rows. A policy serves it
to flagged requests:

  intervene: {kind: adapter, path: FOLDER}

FORGET and RETAIN are JSON lines as in a policy, or LAYOUT:PLACE#PART (tofu:FOLDER#forget01).
Several processes: accelerate launch -m adapters train …

--prune upcore:0.1 leaves the tenth of the forget rows out of training that lies apart from the rest
in the model's own representations (UPCORE); they stay in what detectors know. How many were left
out is printed and recorded, never which.
--mask wagle:0.8 lets the adapter change only that share of the output rows of each base weight: the
rows to which weight attribution gives the forgetting (WAGLE). The others stay as they are.

An adapter may remember what it was trained on: keep it as you keep the forget set.
"""
_PRUNE, _MASK = "upcore", "wagle"


def options(parser: argparse.ArgumentParser) -> None:
    """Adds what this command takes."""
    add_objective(parser)
    add_sources(parser)
    parser.add_argument(
        "--prune", metavar="upcore[:SHARE]", help="leave outliers of the forget rows out of it"
    )
    parser.add_argument(
        "--mask", metavar="wagle:SHARE", help="change that share of the weights' rows alone"
    )
    parser.add_argument(
        "--after", nargs="+", default=[], type=Path, metavar="ADAPTER",
        help="earlier adapters that this one is kept orthogonal to",
    )  # fmt: skip
    parser.add_argument(
        "--regularizer", action="append", default=[], metavar="NAME",
        help=f"add one to the loss ({', '.join(REGULARIZERS.kinds())})",
    )  # fmt: skip
    parser.add_argument("--from", dest="continued", type=Path, metavar="ADAPTER", help="go on from")


def add_objective(parser: argparse.ArgumentParser) -> None:
    """Adds the objective and its options."""
    parser.add_argument("--objective", required=True, metavar="NAME", help="see `objectives`")
    parser.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE", help="of the objective, "
        "or, as KIND.NAME=VALUE, of a regularizer or of the mask",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Trains and prints; returns the exit status."""
    kind = OBJECTIVES.get(args.objective)
    chosen = given(args)
    settings = settings_for(kind, chosen)
    own, others = grouped(args.option)
    objective = kind(checked(kind.Options, own, args.objective))
    share = _share(args.prune)
    mask = _mask(args.mask, others.pop(_MASK, None))
    regularizers = _regularizers(args.regularizer, args.after, others)
    by = args.objective if kind.needs_retain else args.mask and f"--mask {_MASK}"
    needed(args.retain, by, chosen, args.forget)

    from adapters.trainer import train

    found = sources(args, settings)
    with progress() as report:
        made = train(
            found.model, found.forget, found.retain, args.out, settings, objective,
            regularizers=regularizers, prune=share, mask=mask, continued=args.continued,
            resume=args.resume, report=report,
        )  # fmt: skip
    note = "" if share is None else f"left out by {_PRUNE}: {made.left_out} of the forget rows"
    say(made.folder, made.fitted, as_json=args.json, note=note)
    return 0


def objectives(args: argparse.Namespace) -> int:
    """Lists the objectives with their options and what settings they change."""
    for kind in OBJECTIVES.kinds():
        found = OBJECTIVES.get(kind)
        line = (found.__doc__ or "").strip().partition("\n")[0]
        print(f"{kind}: {line}")
        fields = ", ".join(
            f"{name}={'…' if field.is_required() else field.default}"
            for name, field in found.Options.model_fields.items()
        )
        if fields:
            print(f"    --option {fields}")
        if found.settings:
            print(f"    --set {', '.join(f'{n}={v}' for n, v in found.settings.items())}")
        if found.needs_retain:
            print("    needs --retain")
    return 0


def _share(text: str | None) -> float | None:
    """The share of ``--prune``; None without."""
    if text is None:
        return None
    from adapters.data.prune import SHARE

    kind, colon, share = text.partition(":")
    if kind != _PRUNE:
        raise DataError(f"--prune {kind}: no such pruning; say {_PRUNE}, or {_PRUNE}:{SHARE}")
    return _number(share, "--prune") if colon else SHARE


def _mask(text: str | None, options: Mapping[str, Any] | None) -> "Wagle | None":
    """The mask of ``--mask`` with its options; None without."""
    if text is None:
        if options is not None:
            raise DataError(f"--option {_MASK}: no such mask is asked for; say --mask {_MASK}:0.8")
        return None
    from adapters.attribution import Wagle, WagleOptions

    kind, _, share = text.partition(":")
    if kind != _MASK:
        raise DataError(f"--mask {kind}: no such mask; say {_MASK}:SHARE, such as {_MASK}:0.8")
    values = {**(options or {}), "share": _number(share, "--mask")}
    return Wagle(checked(WagleOptions, values, _MASK))


def _number(text: str, flag: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise DataError(f"{flag}: the share must be a number, such as 0.8") from None


def _regularizers(
    named: Sequence[str], after: Sequence[Path], options: Mapping[str, Mapping[str, Any]]
) -> "list[Regularizer]":
    kinds = list(dict.fromkeys([*named, *(["orthogonal"] if after else [])]))
    for kind in options:
        if kind not in kinds:
            raise DataError(f"--option {kind}: no such regularizer is asked for")
    found = []
    for kind in kinds:
        made = REGULARIZERS.get(kind)
        found.append(made(checked(made.Options, options.get(kind, {}), kind), after))
    return found
