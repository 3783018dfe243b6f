import json
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks import result as module
from benchmarks.result import RESULTS, Machine, Result, Row, commit, read, versions, write
from guard.errors import GuardError

RESULT = Result(
    benchmark="overhead",
    suite="full",
    rows=(
        Row(system="guarded/plain", split="near × far", metric="ratio", value=1.5, low=1, high=2),
        Row(system="all", metric="failed", value=0, n=12),
    ),
    machine=Machine(cpu="A CPU", cores=2, memory_gib=23.5),
    versions={"python": "3.11.1"},
    seed=0,
    seconds=1.5,
)


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "new" / "overhead.json"
    write(RESULT, path)
    write(RESULT, path)
    assert read(path) == RESULT
    assert list(path.parent.iterdir()) == [path]


def test_what_does_not_apply_is_left_out() -> None:
    written = json.loads(RESULT.to_json())
    assert "commit" not in written and written["seed"] == 0
    assert written["rows"][1] == {"system": "all", "metric": "failed", "value": 0, "n": 12}
    assert set(written["rows"][0]) == {"system", "split", "metric", "value", "low", "high"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"rows": [{"system": "a", "metric": "b"}]}, "rows.0.value"),
        ({"rows": [{"system": "a", "metric": "b", "value": "fast"}]}, "rows.0.value"),
        ({"rows": [{"system": "a", "metric": "b", "value": 1, "n": -1}]}, "rows.0.n"),
        ({"rows": [{"system": "a", "metric": "b", "value": 1, "hihg": 2}]}, "rows.0"),
        ({"machine": {"cpu": "a", "cores": 1, "memory_gib": 1, "host": "b"}}, "machine"),
        ({"seconds": None}, "seconds"),
        ({"benchmark": 1}, "benchmark"),
    ],
)
def test_another_form_is_refused(tmp_path: Path, change: dict[str, Any], field: str) -> None:
    path = tmp_path / "overhead.json"
    path.write_text(json.dumps({**json.loads(RESULT.to_json()), **change}), "utf-8")
    with pytest.raises(GuardError, match=rf"overhead\.json: {re.escape(field)}: "):
        read(path)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"rows": NaN}'])
def test_not_a_result(tmp_path: Path, text: str) -> None:
    path = tmp_path / "overhead.json"
    with pytest.raises(GuardError, match="no such result"):
        read(path)
    path.write_text(text, "utf-8")
    with pytest.raises(GuardError, match=r"overhead\.json: "):
        read(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_figure_is_a_number(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Row(system="a", metric="b", value=value)


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "overhead.json"
    path.write_text("old", "utf-8")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "replace", full)
    with pytest.raises(GuardError, match=r"overhead\.json: cannot be written: No space left"):
        write(RESULT, path)
    assert path.read_text("utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_told_of_the_machine() -> None:
    import platform

    machine = Machine.here()
    assert machine.cpu and machine.cores >= 1 and machine.memory_gib > 0
    assert platform.node() not in (machine.cpu,)
    assert {"python", "vllm", "torch", "transformers", "faiss", "unlearn-guard"} <= set(versions())


def test_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = commit()
    assert found is None or re.fullmatch(r"[0-9a-f]{12,40}(-dirty)?", found)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit() is None


def test_committed_results_are_of_the_form() -> None:
    for path in RESULTS.glob("*.json"):
        found = read(path)
        assert found.benchmark == path.stem.partition("-")[0]
        assert path.read_text("utf-8") == found.to_json()
