"""What an answer depends on: it is asked again where that has changed, and not where not."""

import ast
import shutil
from pathlib import Path

import pytest

from benchmarks.leakage import gather
from benchmarks.leakage.gather import BARE, code
from benchmarks.leakage.systems import MODELS, SYSTEMS, Options
from benchmarks.result import ROOT

SYSTEM_FILES = ROOT / "benchmarks/leakage/systems"


def imported(path: Path) -> set[str]:
    """Names of the systems' files that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        for module in modules:
            package, _, name = module.rpartition(".")
            if package == "benchmarks.leakage.systems":
                found.add(f"{name}.py")
    return found


def test_a_bare_model_runs_through_what_is_digested_for_it() -> None:
    assert {name for name in SYSTEMS if SYSTEMS[name](remote()).bare} == set(MODELS)
    left, seen = {"models.py", "worker.py"}, set()  # the worker is a process of its own
    while left:
        name = left.pop()
        seen.add(name)
        left |= imported(SYSTEM_FILES / name) - seen
    assert seen == set(BARE)


def remote() -> Options:
    from benchmarks.leakage.systems import Remote

    return Options(remote=Remote("http://127.0.0.1:1/v1", "model"))


@pytest.mark.parametrize(
    ("changed", "guarded", "bare"),
    [
        ("guard/guard.py", True, False),
        ("benchmarks/leakage/systems/parts.py", True, False),
        ("benchmarks/leakage/systems/worker.py", True, True),
        ("benchmarks/leakage/play.py", True, True),
        ("benchmarks/leakage/attacks/base.py", True, True),
        ("benchmarks/evasions/base.py", True, True),
        ("benchmarks/leakage/table.py", False, False),
        ("benchmarks/table.py", False, False),
    ],
)
def test_what_changes_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str, guarded: bool, bare: bool
) -> None:
    for folder in ("guard", "benchmarks"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=_no_python)
    monkeypatch.setattr(gather, "ROOT", tmp_path)
    before = code(), code(bare=True)
    path = tmp_path / changed
    path.write_text(f"{path.read_text('utf-8')}\n# another line\n", "utf-8")
    assert (code() != before[0], code(bare=True) != before[1]) == (guarded, bare)


def _no_python(folder: str, names: list[str]) -> set[str]:
    return {name for name in names if not (Path(folder, name).is_dir() or name.endswith(".py"))}
