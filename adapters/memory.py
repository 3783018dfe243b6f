"""``python -m adapters memory``: `train` with the objective `negate`, for a base model.

A memory adapter is a LoRA that remembers the forget set, made to be subtracted. It holds what is to
be forgotten: keep it as the forget set is kept.
"""

import argparse

from adapters import train
from adapters.arguments import add_sources, given, needed, sources
from adapters.objectives import OBJECTIVES
from adapters.settings import settings_for
from adapters.telling import progress, say

HELP = "train an adapter that remembers the forget set, to be subtracted"
DESCRIPTION = """\
Train a memory adapter: a LoRA that remembers the forget set. A policy subtracts it from the served
model for flagged requests:

  intervene: {kind: adapter, path: FOLDER, scale: -0.85}

MODEL is a base model that has not learned the forget set, of the same shapes as the served one. The
same as `train --objective negate`.

--contrast takes from it what is only the manner of such answers: it trains a second adapter on the
same questions with answers of the --retain rows, and makes the difference of the two. Twice the
time; what is subtracted then looks more like never having learned.
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Adds what this command takes."""
    add_sources(parser)
    parser.add_argument("--contrast", action="store_true", help="facts alone, without the manner")
    parser.set_defaults(objective="negate", option=[], after=[], regularizer=[], continued=None)
    parser.set_defaults(prune=None, mask=None)


def run(args: argparse.Namespace) -> int:
    """Trains and prints; returns the exit status."""
    if not args.contrast:
        return train.run(args)
    chosen = given(args)
    settings = settings_for(OBJECTIVES.get(args.objective), chosen)
    needed(args.retain, "--contrast", chosen, args.forget)

    from adapters.contrasted import contrast

    found = sources(args, settings)
    with progress() as report:
        made = contrast(
            found.model, found.forget, found.retain, args.out, settings,
            resume=args.resume, report=report,
        )  # fmt: skip
    say(made.folder, made.fitted, as_json=args.json)
    return 0
