from pathlib import Path

import pytest

from benchmarks.kept import Kept
from benchmarks.result import Row
from guard.errors import GuardError

ROWS = [Row(system="a", metric="m", value=1.0)]


def test_what_is_kept_is_there_the_next_time(tmp_path: Path) -> None:
    Kept(tmp_path / "new", "overhead", "full", 0).write("a, b", ROWS)
    again = Kept(tmp_path / "new", "overhead", "full", 0)
    assert again.read("a, b") == ROWS and again.read("c") is None


@pytest.mark.parametrize(
    ("benchmark", "suite", "seed", "field"),
    [("other", "full", 0, "benchmark"), ("overhead", "quick", 0, "suite"),
     ("overhead", "full", 1, "seed")],
)  # fmt: skip
def test_what_another_run_kept_is_refused(
    benchmark: str, suite: str, seed: int, field: str, tmp_path: Path
) -> None:
    Kept(tmp_path, "overhead", "full", 0).write("a", ROWS)
    with pytest.raises(GuardError, match=rf"a\.json: {field}: is not this run's"):
        Kept(tmp_path, benchmark, suite, seed).read("a")


def test_without_a_folder_nothing_is_kept() -> None:
    kept = Kept(None, "overhead", "full", 0)
    kept.write("a", ROWS)
    assert kept.read("a") is None
