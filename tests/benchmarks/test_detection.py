"""The detection benchmark on small invented data; its systems are simple ones, made for that."""

import argparse
import itertools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import detection, latency
from benchmarks.__main__ import main
from benchmarks.baselines import Keyword
from benchmarks.baselines.keyword import Keywords
from benchmarks.detection_table import table
from benchmarks.evaluate import Measured, detection_rows, evasion_rows, roc_rows, stage_rows
from benchmarks.experiment import Experiment
from benchmarks.question import Prompt
from benchmarks.result import Result, Row, read
from benchmarks.size import QUICK
from benchmarks.split import Target
from benchmarks.suites import tofu
from benchmarks.systems import NOTHING, Fitted, System, Verdict, margin
from benchmarks.workers import Workers
from guard.decision import Score
from tests.benchmarks.datasets import FORGOTTEN, NAMES, write_data
from tests.benchmarks.test_result import RESULT

TINY = replace(
    QUICK, suite="full", questions=None, retain=None, timed={8: 2, 32: 2}, targets=(1, 3)
)


class Here:
    """Workers that do it at once, in this process."""

    def __enter__(self) -> "Here":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def fit(self, system: System, targets: Mapping[str, Target], folder: Path) -> "Future[Fitted]":
        done: Future[Fitted] = Future()
        done.set_result(system.fit(targets, folder))
        return done

    def judge(
        self, fitted: Fitted, prompts: Sequence[Prompt], done: Callable[[int], None]
    ) -> list[Verdict]:
        judge = fitted.load()
        done(len(prompts))
        return [judge(prompt) for prompt in prompts]


@dataclass(frozen=True)
class Named(System):
    """Finds the names, and calls itself the guard."""

    name: str = "guard"

    def fit(self, targets: Mapping[str, Target], folder: Path) -> Keywords:
        return Keywords(tuple(name for target in targets.values() for name in target.names))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def simple(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the keyword filter, which loads no model, as both sides."""
    monkeypatch.setattr(Experiment, "guard", Named())
    monkeypatch.setattr(Experiment, "baselines", (Keyword(),))
    monkeypatch.setattr(Experiment, "_router", None)


def experiment(data: Path, folder: Path) -> Experiment:
    workers: Any = Here()
    return Experiment(data, folder, workers, TINY, 0, "cascade", False, None, lambda line: None)


def found(rows: Sequence[Row]) -> dict[tuple[str, str | None, str, str | None], Row]:
    return {(row.system, row.split, row.metric, row.attack): row for row in rows}


@pytest.mark.usefixtures("simple")
def test_rates_are_counted_as_they_are(data: Path, tmp_path: Path) -> None:
    rows = found(experiment(data, tmp_path).tofu10())
    hit = rows["guard", "TOFU forget10: positives", "tpr", None]
    assert (hit.value, hit.n) == (1.0, 40)
    false = rows["guard", "TOFU forget10: other authors", "fpr", None]
    assert (false.value, false.low, false.n) == (0.0, 0.0, 40)  # one fold holds two authors out
    assert rows["guard", "TOFU forget10: other authors", "auc", None].value == 1.0
    assert rows["guard", "TOFU forget10: CLINC150", "false_positives", None].n == 8
    keywords = rows["keyword filter", "TOFU forget10: positives", "tpr", "base64"]
    assert keywords.value == 0.0 and keywords.n == QUICK.evasions // 2
    framed = rows["guard", "TOFU forget10: positives", "of_plain_tpr", "role play"]
    assert framed.value == 1.0
    assert rows["guard", "TOFU forget10: negatives", "fpr", "role play"].value == 0.0
    unavailable = rows["semantic-router", "not run", "unavailable", None]
    assert unavailable.value == 1


@pytest.mark.usefixtures("simple")
def test_every_suite_gives_rows(data: Path, tmp_path: Path) -> None:
    trial = experiment(data, tmp_path)
    trial._fitted.clear()
    many = found(trial.languages())
    for language in tofu.LANGUAGES:
        assert many["guard", f"TOFU forget01, five languages: {language}", "tpr", None].n == 40
    assert all(row.value is not None for row in trial.tofu("05"))
    novels = found(trial.lume())
    assert novels["guard", "LUME: positives", "tpr", None].n == 20


@dataclass(frozen=True)
class Fixed(Fitted):
    """Says of each text what it was told to say."""

    says: tuple[tuple[str, Verdict], ...]

    def load(self) -> Callable[[Prompt], Verdict]:
        told = dict(self.says)
        return lambda prompt: told.get(str(prompt), Verdict(False, -1.0))


def test_the_worst_fold_and_the_mean_are_told_apart(data: Path) -> None:
    suite = tofu.load(data, "10", 0)
    asked = [question.text for question in suite.folds[0].positives]
    first = Fixed(tuple((text, Verdict(True, 1.0, "names")) for text in asked))
    second = Fixed(tuple((text, Verdict(True, 1.0, "names")) for text in asked[:10]))
    workers: Any = Here()

    def ask(fitted: Fitted, prompts: Sequence[Prompt]) -> list[Verdict]:
        verdicts: list[Verdict] = workers.judge(fitted, prompts, lambda count: None)
        return verdicts

    measured = Measured("guard", suite, (first, second), ask, 0)
    rows = {(row.split, row.metric): row for row in detection_rows(measured)}
    split = "TOFU forget10: positives"
    assert rows[split, "tpr"].value == 0.625 and rows[split, "tpr_worst_fold"].value == 0.25
    at = {row.metric: row for row in roc_rows(measured)}
    assert at["tpr_at_0.01_fpr"].value == 0.625
    assert at["auc"].value == pytest.approx(0.625 + 0.375 / 2)
    path = Fixed(tuple((text, Verdict(True, 1.0, "names > vectors")) for text in asked[:10]))
    stages = {(row.split, row.metric): row for row in stage_rows(measured, path, 1000)}
    reached = stages[split, "reaches vectors"]
    assert (reached.value, reached.n) == (0.25, 40) and stages[split, "reaches names"].value == 0.25
    # The evasion's share is of what was found without it, on the same questions.
    few = Measured("guard", suite, (second,), ask, 0)
    shares = [r for r in evasion_rows(few, 40, 1, ["lower case"]) if r.metric == "of_plain_tpr"]
    assert [(row.value, row.n) for row in shares] == [(0.0, 40)]


def test_margin_is_the_best_of_targets_and_stages() -> None:
    scores = [
        ("a", Score(0.4, 0.5, "similarity")),
        ("b", Score(0.9, 1.0, "lexical")),
        ("c", Score(5.0, float("inf"), "static")),
    ]
    best, stage = margin(scores)
    assert best == pytest.approx(-0.1) and stage == "similarity"
    assert margin(scores[2:]) == (float("-inf"), "static")
    assert margin([]) == (float("-inf"), NOTHING)


@pytest.mark.usefixtures("simple")
def test_the_table_shows_what_was_measured(data: Path, tmp_path: Path) -> None:
    trial = experiment(data, tmp_path)
    times = latency.rows(latency.AS_THEY_COME, {"guard": [1.0] * 4, "semantic-router": [8.0] * 4})
    rows = [*trial.tofu10(), *trial.languages(), *times]
    shown = table(RESULT.model_copy(update={"benchmark": "detection", "rows": tuple(rows)}))
    lines = shown.splitlines()
    guard = next(line for line in lines if line.startswith("| guard | 100.0 %"))
    assert (
        "| 0.00 % | 100.0 % | 0 of 5 | 0 of 5 | 0 of 8 | 0 of 8 |" in guard and "1.00 ms" in guard
    )
    assert any(line.startswith("| semantic-router | could not be run") for line in lines)
    assert any("evasions leave the guard 95%" in line and "base64 0%" in line for line in lines)
    assert any("so disguised, it flags 0.0% at most." in line for line in lines)
    assert any("| ×8.0 |" in line for line in lines)
    assert len({line.count("|") for line in lines if line.startswith("| guard |")}) <= 2
    empty = table(RESULT.model_copy(update={"benchmark": "detection", "rows": ()}))
    assert "|" not in empty


@pytest.mark.usefixtures("simple")
def test_the_command(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(detection, "QUICK", replace(TINY, suite="quick"))
    monkeypatch.setattr(detection, "Workers", Here)
    out = tmp_path / "detection.json"
    command = ["detection", "--quick", "--data", str(data), "--suite", "tofu01", "--out", str(out)]
    assert main(command) == 0
    result: Result = read(out)
    assert result.suite == "quick: tofu01" and result.benchmark == "detection"
    assert table(result) == capsys.readouterr().out
    (data / "lume" / "forget.jsonl").rename(data / "lume" / "gone.jsonl")
    try:
        assert main([*command, "--suite", "lume"]) == 1
    finally:
        (data / "lume" / "gone.jsonl").rename(data / "lume" / "forget.jsonl")
    assert read(out).suite == "quick: tofu01"
    assert "FAILED: lume" in capsys.readouterr().err


def test_data_must_be_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("GUARD_DATA", raising=False)
    assert main(["detection"]) == 2
    assert "--data: give the folder" in capsys.readouterr().err
    assert main(["detection", "--data", str(tmp_path / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_workers_keep_the_order() -> None:
    names = Keywords(tuple(FORGOTTEN))
    prompts = [f"{n}: who is {name}?" for n, name in zip(range(100), itertools.cycle(NAMES))]
    with Workers(2) as workers:
        verdicts = workers.judge(names, prompts)
        fitted = workers.fit(Keyword(), {}, Path("unused")).result()
    assert [v.flagged for v in verdicts] == [p[:-1].endswith(tuple(FORGOTTEN)) for p in prompts]
    assert fitted == Keywords(())


def test_options_are_this_benchmarks_own(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    detection.options(parser)
    assert parser.parse_args([]).suite is None
    with pytest.raises(SystemExit):
        main(["overhead", "--suite", "tofu10"])
    assert "unrecognized" in capsys.readouterr().err


@pytest.mark.slow
def test_a_quick_run(data: Path, tmp_path: Path) -> None:
    """The real guard and the real baselines, as a user runs them."""
    out = tmp_path / "detection.json"
    command = ["detection", "--quick", "--data", str(data), "--out", str(out)]
    assert main([*command, "--suite", "tofu10"]) == 0
    rows = found(read(out).rows)
    for system in ("guard", "keyword filter", "MiniLM, cosine 0.8"):
        assert rows[system, "TOFU forget10: positives", "tpr", None].value > 0.9
