"""``python -m adapters memory``: `train` with the objective `negate`, for a base model.

A memory adapter is a LoRA that remembers the forget set, made to be subtracted. It holds what is to
be forgotten: keep it as the forget set is kept.
"""

import argparse

from adapters import train
from adapters.arguments import add_sources

HELP = "train an adapter that remembers the forget set, to be subtracted"
DESCRIPTION = """\
Train a memory adapter: a LoRA that remembers the forget set. A policy subtracts it from the served
model for flagged requests:

  intervene: {kind: adapter, path: FOLDER, scale: -0.85}

MODEL is a base model that has not learned the forget set, of the same shapes as the served one. The
same as `train --objective negate`.
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Adds what this command takes."""
    add_sources(parser)
    parser.set_defaults(objective="negate", option=[], after=[], regularizer=[], continued=None)
    parser.set_defaults(prune=None, mask=None)


def run(args: argparse.Namespace) -> int:
    """Trains and prints; returns the exit status."""
    return train.run(args)
