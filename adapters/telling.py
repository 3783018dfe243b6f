"""What is printed of a training: its progress, and what came of it."""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adapters.fit import Fitted, Progress, Report


def say(
    folder: Path,
    fitted: "Fitted",
    *,
    as_json: bool,
    note: str = "",
    more: Mapping[str, Any] = {},
) -> None:
    """Prints what came of a training: the folder, and the figures beside it.

    Args:
        folder: What was made.
        fitted: The figures.
        as_json: Whether all of it is for a program.
        note: A line for a person.
        more: Further figures for a program.
    """
    from accelerate import Accelerator

    if not Accelerator().is_main_process:
        return
    if as_json:
        print(json.dumps({"folder": str(folder), **asdict(fitted), **more}, indent=1))
        return
    last = fitted.losses[-1] if fitted.losses else {}
    figures = [f"{fitted.steps} steps", f"{fitted.seconds:.1f} s", f"{fitted.tokens} tokens"]
    figures.append(f"{fitted.memory / 2**30:.2f} GiB at most")
    figures += [f"{name} {value:.4g}" for name, value in last.items()]
    print(f"trained: {', '.join(figures)}", file=sys.stderr)
    for line in filter(None, (fitted.stopped and f"stopped early: {fitted.stopped}", note)):
        print(line, file=sys.stderr)
    print(folder)


@contextmanager
def progress() -> Iterator["Report"]:
    """Yields a function that shows a step: a bar, or a plain line now and then."""

    def described(now: "Progress") -> str:
        losses = ", ".join(f"{name} {value:.3f}" for name, value in now.losses.items())
        return f"{losses}, {now.tokens:.0f} tokens/s"

    if not sys.stderr.isatty():

        def line(now: "Progress") -> None:
            if now.step % max(now.steps // 10, 1) == 0 or now.step == now.steps:
                place = f"training: {now.step}/{now.steps}"
                left = f"{now.left:.0f} s left"
                print(f"{place}, {described(now)}, {left}", file=sys.stderr, flush=True)

        yield line
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("training", total=None)
        yield lambda now: bar.update(
            task,
            total=now.steps,
            completed=now.step,
            description=f"{described(now)}, {now.left:.0f} s left",
        )
