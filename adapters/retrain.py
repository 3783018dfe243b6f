"""``python -m adapters retrain``: an adapter that makes the served model one that never learned."""

import argparse
from dataclasses import asdict

from adapters.arguments import add_training, given, model_of, rows_for
from adapters.objectives import OBJECTIVES
from adapters.settings import settings_for
from adapters.telling import progress, say
from guard.errors import DataError

HELP = "retrain on some of what is kept: an adapter that has never seen the forget set"
DESCRIPTION = """\
Train a LoRA of the model that the served one was tuned from on some of the retain rows, and take
from it what the served model has learned. A policy serves the adapter for flagged requests, as it
is:

  intervene: {kind: adapter, path: FOLDER}

They are then answered by a model that has never seen the forget set, in the served model's manner:
there is no strength to choose, and no forget row is learned, so that one adapter serves every
request to forget that none of the learned rows is about. It does not know what is kept either, but
for the rows that it learned: without a detector, it is of no use.

example:
  python -m adapters retrain --model SERVED --base BASE --retain retain.jsonl --out never

--model must have been tuned from --base. Of a LoRA that was merged, the adapter holds everything
but the rounding; of full fine-tuning, as much as --served-rank can. What is left is printed, and
how likely answers are with what was trained and with what is served: of the learned rows, and of
others that the served model knows (retain rows that were not learned, and --forget). Where the two
are not the same, so that it would go on knowing them, nothing is made.
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Adds what this command takes."""
    add_training(parser, out="the PEFT folder to make")
    parser.add_argument(
        "--forget", metavar="ROWS", help="learn none of these, and prove that they are gone"
    )
    parser.add_argument("--base", required=True, help="the model that it was tuned from")
    parser.add_argument(
        "--rows", type=int, default=128, metavar="N",
        help="learn so many of the rows, or all (default: 128)",
    )  # fmt: skip
    parser.add_argument(
        "--served-rank", type=int, default=32, metavar="N",
        help="holds what the served model has learned (default: 32)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Trains and prints; returns the exit status."""
    settings = settings_for(OBJECTIVES.get("negate"), given(args))
    if not args.retain:
        raise DataError("--retain: retrain needs them: give rows that must be kept")
    from adapters.retraining import retrain
    from guard.identity import model_folder
    from guard.models import resolve

    cut = rows_for(args, settings)
    retain, forget = cut(args.retain), cut(args.forget) if args.forget else ()
    with progress() as report:
        made = retrain(
            model_of(args), model_folder(resolve(args.base)), retain, args.out, settings,
            forget=forget, rows=args.rows, served_rank=args.served_rank, resume=args.resume,
            report=report,
        )  # fmt: skip
    served = made.served
    note = (
        f"rank {served.rank}, {made.rows} rows learned; it holds {served.kept:.1%} of what the "
        f"served model learned in its linear layers, {served.outside:.1%} is outside of them; "
        f"learned rows are {served.learned_trained:.3f} likely as trained, "
        f"{served.learned_served:.3f} as served, others {served.others_trained:.3f} and "
        f"{served.others_served:.3f}"
    )
    more = {"rows": made.rows, "served": asdict(served)}
    say(made.folder, made.fitted, as_json=args.json, note=note, more=more)
    return 0
