"""The benchmark of objectives: what is asked of whom, its figures, its table."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks import objectives
from benchmarks.__main__ import main
from benchmarks.knowledge import Knowledge
from benchmarks.metrics.forget_quality import forget_quality
from benchmarks.metrics.utility import choice, utility
from benchmarks.objectives import METRICS, RETRAINED, TARGET, rows, table
from benchmarks.result import Machine, Result

HELD: dict[str, Any] = {
    "forget": [1.0, 0.5],
    "paraphrased": [0.5, 0.5],
    "retain": [1.0, 0.8],
    "probability": [0.9, 0.7],
    "ratios": [0.2, 0.4],
    "utility": 0.5,
}
FOUND = {
    TARGET: HELD,
    RETRAINED: {**HELD, "ratios": [0.8, 1.2]},
    "npo": {**HELD, "retain": [0.0, 0.4], "seconds": 9.0, "memory": 2**30, "scale": 1.0},
    "ga": {"error": "adapters: the loss is not finite"},
}


def test_a_choice_is_a_share() -> None:
    assert choice(0.2, [0.1, 0.1]) == pytest.approx(0.5)
    assert choice(0.0, []) == 0.0


def test_forget_quality_is_one_for_the_same_ratios_and_small_for_others() -> None:
    same = [n / 40 for n in range(40)]
    assert forget_quality(same, same) == 1.0
    assert forget_quality(same, [value + 2 for value in same]) < 1e-9


def test_utility_is_a_harmonic_mean() -> None:
    assert utility([0.5, 1.0]) == pytest.approx(2 / 3)
    assert utility([0.5, 0.0, 1.0]) == 0.0


def test_behind_a_guard_what_is_not_flagged_is_the_targets() -> None:
    held = {(row.system, row.metric): row.value for row in rows(FOUND, [False, True])}
    assert held["npo", "retain"] == pytest.approx(0.2)
    assert held["npo", "gated"] == pytest.approx((1.0 + 0.4) / 2)
    assert held["npo", "forget"] == pytest.approx(0.75)
    assert held["npo", "memory"] == 1.0
    assert held[RETRAINED, "quality"] == 1.0 > held[TARGET, "quality"]
    assert held["ga", "diverged"] == 1.0 and ("ga", "forget") not in held


def test_the_table_has_a_line_a_system() -> None:
    result = Result(
        benchmark="objectives", suite="full", rows=tuple(rows(FOUND, [False, True])),
        machine=Machine.here(), versions={"torch": "0"}, seconds=1.0,
    )  # fmt: skip
    lines = table(result).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:6]] == [
        *[TARGET, RETRAINED],  # however the parts of a run were joined
        *["ga", "npo"],
    ]
    assert all(line.count("|") == len(METRICS) + 2 for line in lines[:6])
    assert "diverged" in lines[4]


def test_what_was_done_once_is_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (TARGET, RETRAINED, "npo"):
        (tmp_path / f"{name}.json").write_text(json.dumps(FOUND[name]), "utf-8")

    class Small:
        forget = given = asked = (("Who is it?", "It is she."),)

    monkeypatch.setattr(objectives, "given_world", lambda args: Small())
    monkeypatch.setattr(objectives._Bench, "flagged", lambda self: [False, True])
    arguments = ["--data", str(tmp_path), "--models", str(tmp_path), "--work", str(tmp_path)]
    assert main(["objectives", *arguments, "--only", "npo", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["suite"] == "full: part"
    assert {row["system"] for row in printed["rows"]} == {TARGET, RETRAINED, "npo"}
    assert json.loads((tmp_path / "forget.jsonl").read_text("utf-8"))["answer"] == "It is she."


def test_an_unknown_objective_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--data", str(tmp_path), "--models", str(tmp_path), "--only", "magic"]
    assert main(["objectives", *arguments]) == 2
    assert "--only: no objective 'magic' (known: blur" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "words", "model", "scale"),
    [
        ("npo", ["train", "--objective", "npo"], "the target", 1.0),
        ("negate", ["train", "--objective", "negate"], objectives.BASE, -0.85),
        ("contrast", ["memory", "--contrast"], objectives.BASE, -0.85),
        ("retrain", ["retrain", "--base", objectives.BASE], "the target", 1.0),
    ],
)
def test_what_is_subtracted_remembers_the_base_model(
    kind: str,
    words: list[str],
    model: str,
    scale: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    commands: list[list[str]] = []
    measured: list[Any] = []

    class Small:
        forget = given = asked = (("Who is it?", "It is she."),)

        def model(self, name: str) -> str:
            return f"the {name}"

    def run(command: list[str], **more: Any) -> Any:
        commands.append(command)
        out = Path(command[command.index("--out") + 1])
        out.mkdir()
        record = json.dumps({"seconds": 9.0, "memory_gib": 1.0})
        (out / "guard_adapter.json").write_text(record, "utf-8")
        return subprocess.CompletedProcess(command, 0, "", "")

    def known(self: Any, adapter: Path, scale: float, name: str) -> Knowledge:
        measured.extend((adapter, scale, name))
        return Knowledge(**HELD)

    monkeypatch.setattr(objectives.subprocess, "run", run)
    monkeypatch.setattr(objectives._Bench, "_known", known)
    monkeypatch.setattr(objectives._Bench, "_scale", lambda self, adapter: -0.85)
    bench = objectives._Bench(Small(), tmp_path, None, None)  # type: ignore[arg-type]
    found = bench.objective(kind)
    assert (found["scale"], found["seconds"], found["memory"]) == (scale, 9.0, 2**30)
    (command,) = commands
    assert command[2 : 3 + len(words)] == ["adapters", *words]
    assert command[command.index("--model") + 1] == model
    assert measured == [tmp_path / kind, scale, TARGET]
    # Broken off while it was asked: what was trained is asked, and is not trained again.
    (tmp_path / f"{kind}.json").unlink()
    assert bench.objective(kind) == found
    assert len(commands) == 1 and measured[3:] == measured[:3]
