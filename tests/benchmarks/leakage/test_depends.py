"""What an answer depends on: it is asked again where that has changed, and not where not."""

import ast
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.leakage import depends
from benchmarks.leakage.case import Given, Models, Suite
from benchmarks.leakage.depends import BARE, code, made_of
from benchmarks.leakage.systems import MODELS, SYSTEMS, Options, Remote
from benchmarks.leakage.systems.engine import Settings
from benchmarks.result import ROOT
from guard.errors import GuardError

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
    assert {name for name in SYSTEMS if SYSTEMS[name](Options(remote=REMOTE)).bare} == set(MODELS)
    left, seen = {"models.py", "worker.py"}, set()  # the worker is a process of its own
    while left:
        name = left.pop()
        seen.add(name)
        left |= imported(SYSTEM_FILES / name) - seen
    assert seen == set(BARE)


@pytest.mark.parametrize(
    ("changed", "guarded", "bare"),
    [
        ("guard/guard.py", True, False),
        ("benchmarks/leakage/systems/parts.py", True, False),
        ("benchmarks/leakage/systems/worker.py", True, True),
        ("benchmarks/leakage/play.py", True, True),
        ("benchmarks/leakage/ask.py", True, True),
        ("benchmarks/question.py", True, True),
        ("benchmarks/baselines/cosine.py", True, False),
        ("benchmarks/leakage/attacks/base.py", True, True),
        ("benchmarks/evasions/base.py", True, True),
        ("benchmarks/leakage/suites/muse.py", False, False),
        ("benchmarks/leakage/table.py", False, False),
        ("benchmarks/table.py", False, False),
    ],
)
def test_what_changes_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str, guarded: bool, bare: bool
) -> None:
    for folder in ("guard", "benchmarks"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=_no_python)
    monkeypatch.setattr(depends, "ROOT", tmp_path)
    before = code(), code(bare=True)
    path = tmp_path / changed
    path.write_text(f"{path.read_text('utf-8')}\n# another line\n", "utf-8")
    assert (code() != before[0], code(bare=True) != before[1]) == (guarded, bare)


def _no_python(folder: str, names: list[str]) -> set[str]:
    return {name for name in names if not (Path(folder, name).is_dir() or name.endswith(".py"))}


def of(name: str, options: Options, models: Models | None = None) -> dict[str, Any]:
    suite = Suite("made up", models or Models("target"), Given((), ()), {}, ())
    return made_of(SYSTEMS[name](options), suite)


REMOTE = Remote("http://127.0.0.1:1/v1", "model")


@pytest.mark.parametrize(
    "other",
    [
        replace(REMOTE, url="http://127.0.0.1:2/v1"),
        replace(REMOTE, model="other"),
        replace(REMOTE, token="TOKEN"),
    ],
    ids=["url", "model", "scored"],
)
def test_endpoints_are_told_apart(other: Remote) -> None:
    found = [of("endpoint", Options(remote=remote)) for remote in (REMOTE, other)]
    assert found[0] != found[1]


def test_how_an_endpoint_is_reached_changes_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is a secret in what is kept, or its digest."""
    before = of("endpoint", Options(remote=replace(REMOTE, token="TOKEN")))
    monkeypatch.setenv("TOKEN", "secret")
    other = replace(REMOTE, token="TOKEN", key="KEY", concurrency=3, seconds=1.0)
    assert of("endpoint", Options(remote=other)) == before


@pytest.mark.parametrize("name", ["target", "corrupt", "keyword filter", "adapter, merged"])
def test_settings_of_the_engine_count(name: str) -> None:
    found = [of(name, Options(engine=Settings(dtype=d))) for d in ("float32", "bfloat16")]
    assert found[0] != found[1]


def test_parts_that_are_given_count_by_what_is_in_them(tmp_path: Path) -> None:
    memory, prompt = tmp_path / "memory", tmp_path / "prompt.safetensors"
    memory.mkdir()
    seen = [of("offset", Options())]
    for text in ("one", "two"):
        (memory / "adapter_model.safetensors").write_text(text, "utf-8")
        prompt.write_text(text, "utf-8")
        seen += [of("offset", Options(memory=memory)), of("offset", Options(soft_prompt=prompt))]
    assert all(seen.count(one) == 1 for one in seen)


def test_a_part_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(GuardError, match=r"--memory: .*nowhere: cannot be read: No such file"):
        of("offset", Options(memory=tmp_path / "nowhere"))


def test_a_model_that_is_written_anew_is_another(tmp_path: Path) -> None:
    for which in ("target", "retrained"):
        (tmp_path / which).mkdir()
        (tmp_path / which / "config.json").write_text("{}", "utf-8")
    models = Models(str(tmp_path / "target"), str(tmp_path / "retrained"))
    names = ("target", "retrained", "corrupt")
    before = {name: of(name, Options(), models) for name in names}
    (tmp_path / "retrained" / "config.json").write_text('{"x": 1}', "utf-8")
    after = {name: of(name, Options(), models) for name in names}
    assert [name for name in names if before[name] != after[name]] == ["retrained"]


def test_versions_count(monkeypatch: pytest.MonkeyPatch) -> None:
    before = of("target", Options())
    monkeypatch.setattr(depends, "versions", lambda: {"torch": "0.1", "python": "2.7"})
    assert of("target", Options())["versions"] == {"torch": "0.1"} != before["versions"]
