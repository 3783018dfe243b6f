"""Trains adapters: ``python -m adapters memory --model MODEL --forget FILE --out FOLDER``."""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from guard.errors import GuardError

_MEMORY = """\
Train a memory adapter: a LoRA that remembers the forget set. A policy subtracts it from the served
model for flagged requests:

  intervene: {kind: adapter, path: FOLDER, scale: -0.85}

MODEL is a base model that has not learned the forget set, of the same shapes as the served one.
The adapter holds what is to be forgotten: keep it as you keep the forget set.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    args = _parser().parse_args(argv)
    try:
        _memory(args)
    except GuardError as error:
        print(f"adapters: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m adapters", description="Train adapters.")
    commands = parser.add_subparsers(dest="command", required=True)
    memory = commands.add_parser(
        "memory", description=_MEMORY, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    memory.add_argument("--model", required=True, help="a Hugging Face id, a folder, a built-in")
    memory.add_argument("--forget", required=True, type=Path, help="JSON lines, as in a policy")
    memory.add_argument("--out", required=True, type=Path, help="the PEFT folder to make")
    memory.add_argument("--epochs", type=_positive, default=10)
    memory.add_argument("--seed", type=int, default=0)
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a whole number from 1 on")
    return int(text)


def _memory(args: argparse.Namespace) -> None:
    from adapters.lora import Settings
    from adapters.memory import train_memory

    settings = Settings(epochs=args.epochs, seed=args.seed)
    with _progress() as report:
        train_memory(args.model, args.forget, args.out, settings, report)
    print(args.out)


@contextmanager
def _progress() -> Iterator[Callable[[int, int, float], None]]:
    """Yields a function that shows a step: a bar, or a plain line now and then."""
    if not sys.stderr.isatty():

        def line(step: int, steps: int, loss: float) -> None:
            if step % max(steps // 10, 1) == 0 or step == steps:
                print(f"training: {step}/{steps}, loss {loss:.3f}", file=sys.stderr, flush=True)

        yield line
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("training", total=None)
        yield lambda step, steps, loss: bar.update(
            task, total=steps, completed=step, description=f"training, loss {loss:.3f}"
        )


if __name__ == "__main__":
    sys.exit(main())
