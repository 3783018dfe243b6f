"""The calibration report: what a bundle's thresholds rest on, as one HTML page.

The page needs nothing but itself: styles and plots are in it. It names forget rows by number only,
since they are personal data; retain rows and everyday prompts are the operator's own, and are
quoted where they are at hand.
"""

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from guard.bundle import Bundle
from guard.errors import GuardError

Texts = Mapping[str, tuple[Sequence[str], Sequence[str | None]]]
"""Target id to its retain prompts and everyday prompts, in the order of their rows."""


def write_report(path: Path, bundle: Bundle, texts: Texts | None = None) -> None:
    """Writes the report, whole or not at all, readable by its owner only.

    Args:
        path: The file to make; an existing one is replaced.
        bundle: What it is about.
        texts: The prompts to quote; rows are only numbered without, and so are everyday prompts
            beyond these (traffic), or that are None.

    Raises:
        GuardError: It cannot be written there.
    """
    check_report(path)
    from guard.report.page import render

    raw = render(bundle, texts or {}).encode()
    temp: str | None = None
    try:
        handle, temp = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
        with open(handle, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temp, path)
        temp = None
    except OSError as error:
        raise GuardError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        if temp is not None:
            os.unlink(temp)


def check_report(path: Path) -> None:
    """Refuses a path that no report can be written to: better before a long compilation.

    Raises:
        GuardError: Its folder is missing, or it is a folder itself.
    """
    try:
        if path.is_dir():
            raise GuardError(f"{path}: is a folder; give --report a file")
        if not path.parent.is_dir():
            raise GuardError(f"{path.parent}: no such folder; make it, or give --report another")
    except OSError as error:
        raise GuardError(f"{path}: cannot be written: {error.strerror}") from None


def texts_of(policy: Path) -> Texts:
    """Reads the prompts that the report of a policy's bundle may quote.

    Raises:
        GuardError: The policy or a file that it names cannot be read.
    """
    from guard.compile import read_examples
    from guard.everyday import everyday
    from guard.policy import load_policy

    loaded = load_policy(policy)
    background = everyday(loaded.background)
    texts = {}
    for target in loaded.targets:
        examples = read_examples(target, background)
        secret = {row.prompt for row in examples.forget}
        texts[target.id] = (
            [row.prompt for row in examples.retain],
            [None if row.prompt in secret else row.prompt for row in background],
        )
    return texts
