"""The published data sets, which are not shipped: where they lie, or why a test cannot be run."""

import os
from pathlib import Path

import pytest

from benchmarks.suites.files import VARIABLE

_BESIDE = Path(__file__).parents[2] / "shared" / "data"  # of the checkout


def published(*names: str) -> Path:
    """Returns the data sets' folder; skips the test where one that it needs is not there.

    Args:
        names: The sets.
    """
    folder = Path(os.environ.get(VARIABLE) or _BESIDE)
    for name in names:
        if not (folder / name).is_dir():
            pytest.skip(f"{folder / name}: no data set there, it is not shipped; set {VARIABLE}")
    return folder
