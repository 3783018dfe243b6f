"""``python -m adapters detector``: the encoder of a detector, trained ahead of `guard compile`."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters import folder as folders
from adapters import provenance
from guard.errors import DataError
from guard.options import Strict

if TYPE_CHECKING:
    from guard.data import Row

HELP = "train the encoder of a detector ahead of compiling"
DESCRIPTION = """\
Train what a detector adapts of the sentence encoder, so that compiling a policy takes seconds
where it would take minutes, and takes the same each time. The rows are the policy's own, and
detectors are calibrated on them as if `guard compile` had trained.

classifier: one encoder for all targets (ECO); name each target's rows after --forget, and after
--retain either one file for all or one for each. Of five rows it learns four, always the same ones;
the others calibrate.
ood: one encoder for one target, adapted to its forget rows alone (O3); it takes no --retain.

A policy names the folder:

  detect: {kind: classifier, encoder: FOLDER}
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Adds what this command takes."""
    parser.add_argument("kind", choices=("classifier", "ood"), help="the detector it is for")
    parser.add_argument(
        "--forget", required=True, nargs="+", metavar="ROWS", help="what is forgotten, by target"
    )
    parser.add_argument("--retain", nargs="+", default=[], metavar="ROWS", help="what must be kept")
    parser.add_argument(
        "--background", type=Path, metavar="ROWS", help="everyday prompts beside those shipped"
    )
    parser.add_argument("--out", required=True, type=Path, help="the folder to make")
    parser.add_argument("--encoder", default="builtin:minilm", help="the policy's sentence encoder")
    parser.add_argument("--epochs", type=int, help="passes over the forget rows")
    parser.add_argument("--rank", type=int, help="of the LoRA")
    parser.add_argument("--contrast", type=float, help="ood: weight of the contrastive entropy")
    parser.add_argument("--seed", type=int, help="of everything that is drawn by chance")


def run(args: argparse.Namespace) -> int:
    """Trains and prints; returns the exit status."""
    from adapters.data import read

    named = ("epochs", "rank", "contrast", "seed")
    given = {name: getattr(args, name) for name in named if getattr(args, name) is not None}
    if args.kind == "ood" and (len(args.forget) > 1 or args.retain):
        raise DataError("ood: takes the --forget rows of one target, and nothing else")
    forget = [read(source) for source in args.forget]
    retain = [read(source) for source in args.retain]
    made = make_detector(
        args.kind, forget, retain, args.out, args.encoder, given, background=args.background
    )
    print(f"trained: {made} arrays", file=sys.stderr)
    print(args.out)
    return 0


def make_detector(
    kind: str,
    forget: "Sequence[Sequence[Row]]",
    retain: "Sequence[Sequence[Row]]",
    out: Path,
    encoder: str = "builtin:minilm",
    given: "dict[str, Any] | None" = None,
    *,
    background: Path | None = None,
) -> int:
    """Trains an encoder; the same arguments give the same arrays on one kind of CPU.

    Args:
        kind: ``classifier`` or ``ood``.
        forget: Each target's forget rows; one target for ``ood``.
        retain: The retain rows of all, or of each; none for ``ood``.
        out: The folder to make.
        encoder: The policy's sentence encoder.
        given: Options of the detector that are not its defaults.
        background: Everyday prompts beside those that are shipped.

    Returns:
        How many arrays there are.

    Raises:
        DataError: The rows do not do.
        ModelError: There is no such encoder, or `out` is in the way or cannot be written.
    """
    from safetensors.numpy import save_file

    from adapters.arguments import checked
    from guard.compile import Remembered
    from guard.detectors.base import Examples
    from guard.detectors.classifier import Classifier
    from guard.detectors.ood import Ood, adapt
    from guard.detectors.tuned import ABOUT, WEIGHTS
    from guard.encoder import Encoder
    from guard.everyday import everyday
    from guard.identity import identify, model_folder
    from guard.models import resolve

    folders.check(out)
    if kind == "classifier" and len(retain) not in (1, len(forget)):
        raise DataError("--retain: give one set for all targets, or one for each")
    folder = model_folder(resolve(encoder))
    detector = Classifier if kind == "classifier" else Ood
    options_: Strict = checked(detector.Options, given or {}, kind)
    if kind == "classifier":
        kept = list(retain) if len(retain) == len(forget) else [*retain] * len(forget)
        prompts = everyday(background)
        examples = {
            str(number): Examples((), tuple(rows), tuple(others), prompts)
            for number, (rows, others) in enumerate(zip(forget, kept, strict=True))
        }
        encode = Remembered(Encoder(str(folder)), [row.prompt for row in prompts])
        tuned = options_.model_copy(update={"tune": True})
        parts = Classifier.share(examples, tuned, encode)
        if parts is None:
            raise DataError("forget: holds no question or passage to train on")
        arrays = dict(parts.arrays)
    else:
        (rows,) = forget
        arrays = adapt([row for row in rows if not row.is_name], options_, str(folder))
    about = {
        "version": 1,
        "kind": kind,
        "encoder": identify(folder),
        "options": options_.model_dump(mode="json", exclude={"encoder", "max_false_positive_rate"}),
        "forget": [provenance.rows(rows) for rows in forget],
        "retain": [provenance.rows(rows) for rows in retain],
    }

    def fill(temp: Path) -> None:
        save_file(arrays, temp / WEIGHTS)
        (temp / ABOUT).write_text(json.dumps(about, indent=1) + "\n", "utf-8")

    folders.write(out, fill)
    return len(arrays)
