"""The command: what a person says, what is refused at once, and what is written."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import main
from benchmarks.leakage import command
from benchmarks.leakage.case import Loaded, Missing, Suite
from benchmarks.leakage.systems import System
from benchmarks.result import read
from tests.benchmarks.leakage.test_measure import RETAIN, SECRET, SUITE, Made, dodges, knows


@pytest.fixture
def stubbed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """The command with systems and suites that need no engine; what it was asked for is noted."""
    made: dict[str, Any] = {
        "systems": [
            Made("target", knows), Made("retrained", lambda ask: "No."), Made("dodger", dodges)
        ],
        "loaded": Loaded([SUITE]),
    }  # fmt: skip

    def chosen(names: Sequence[str], options: Any) -> list[System]:
        made["names"], made["options"] = list(names), options
        return list(made["systems"])

    monkeypatch.setattr(command, "chosen", chosen)
    monkeypatch.setattr(command, "load", lambda names, source: made["loaded"])
    monkeypatch.setenv("GUARD_DATA", str(tmp_path))
    monkeypatch.delenv("GUARD_MODELS", raising=False)
    return made


def leakage(*more: str) -> int:
    return main(["leakage", "--attack", "paraphrase", "--attack", "prefix injection", *more])


def test_a_run_is_printed_written_and_shown(
    stubbed: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, page = tmp_path / "leakage.json", tmp_path / "leakage.html"
    work = tmp_path / "work"
    words = ["--suite", "small", "--out", str(out), "--page", str(page), "--work", str(work)]
    assert leakage(*words) == 0
    result = read(out)
    assert result.benchmark == "leakage" and result.suite == "part: some systems or attacks"
    printed = capsys.readouterr().out
    assert "| dodger |" in printed and "paraphrase" in printed
    for text in (printed, out.read_text("utf-8"), page.read_text("utf-8")):
        assert SECRET not in text and RETAIN.answer not in text
    assert "<html" in page.read_text("utf-8") and list(work.rglob("*.json"))


def test_json_is_for_programs(stubbed: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert leakage("--json") == 0
    assert json.loads(capsys.readouterr().out)["benchmark"] == "leakage"


def test_a_system_that_breaks_down_is_an_exit_status(stubbed: dict[str, Any]) -> None:
    stubbed["systems"].append(Made("broken", knows, fails=True))
    assert leakage() == 1


def test_what_is_missing_is_told_and_nothing_is_called_full(
    stubbed: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stubbed["loaded"] = Loaded([SUITE], [Missing("muse-news", "no folder muse; get it there")])
    out = tmp_path / "leakage.json"
    assert main(["leakage", "--suite", "small", "--suite", "muse-news", "--out", str(out)]) == 0
    assert "muse-news: missing: no folder muse" in capsys.readouterr().err
    assert read(out).suite != "full"


def test_what_a_reader_should_know_stands_under_the_figures(
    stubbed: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Elsewhere(Made):
        def missing(self, suite: Suite) -> str | None:
            return "it has no base model"

    other = Made("published", knows)
    other.notes = ("no beam search",)
    stubbed["systems"] += [other, Elsewhere("offset", knows), Made("broken", knows, fails=True)]
    suite = replace(SUITE, notes=("retain: other <b>rows</b>",))
    stubbed["loaded"] = Loaded([suite], [Missing("muse-news", f"{tmp_path}: no such folder")])
    out, page = tmp_path / "leakage.json", tmp_path / "leakage.html"
    assert leakage("--out", str(out), "--page", str(page)) == 1
    notes = [
        "muse-news: was not there", "small: retain: other <b>rows</b>", "published: no beam search",
        "small: offset does not apply: it has no base model",
        "small: broken could not be measured",
    ]  # fmt: skip
    assert sorted(read(out).notes) == sorted(notes)
    printed = capsys.readouterr().out
    assert r"* small: retain: other \<b\>rows\</b\>" in printed
    assert "<li>small: retain: other &lt;b&gt;rows&lt;/b&gt;</li>" in page.read_text("utf-8")
    assert all(str(tmp_path) not in text for text in (printed, out.read_text("utf-8")))


def test_without_a_retrained_model_nothing_is_called_full(
    stubbed: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "leakage.json"
    for retrained, suite in (("r", "full"), (None, "part: no retrained model")):
        models = replace(SUITE.models, retrained=retrained)
        stubbed["loaded"] = Loaded([replace(SUITE, models=models)])
        assert main(["leakage", "--suite", "small", "--out", str(out)]) == 0
        assert read(out).suite == suite


@pytest.mark.parametrize("drawn", [[], ["--drawn", "dodger"]], ids=["all", "one"])
def test_attacks_are_drawn_besides(
    stubbed: dict[str, Any], tmp_path: Path, drawn: list[str]
) -> None:
    out = tmp_path / "leakage.json"
    stubbed["loaded"] = Loaded([replace(SUITE, metrics=(*SUITE.metrics, "leak_at_k"))])
    assert leakage("--attack", "sampling", "--draws", "4", *drawn, "--out", str(out)) == 0
    found: dict[str, set[str]] = {}
    for row in read(out).rows:
        if row.metric == "leak@4" and row.attack:
            found.setdefault(row.system, set()).add(row.attack)
    all_of = {"sampling", "paraphrase, 4 draws", "prefix injection, 4 draws"}
    assert found == {
        name: all_of if name == "dodger" or not drawn else {"sampling"}
        for name in ("target", "retrained", "dodger")
    }


def test_nothing_to_read_is_an_error(stubbed: dict[str, Any], tmp_path: Path) -> None:
    stubbed["loaded"] = Loaded([], [Missing("muse-news", "no folder muse")])
    assert leakage("--out", str(tmp_path / "x.json")) == 2
    assert not (tmp_path / "x.json").exists()


def test_an_unfair_result_is_not_written(
    stubbed: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.report.commit", lambda: None)
    assert leakage("--out", str(tmp_path / "x.json")) == 2
    assert not (tmp_path / "x.json").exists()


BAD = [
    (["--attack", "parafrase"], "--attack: no attack 'parafrase'"),
    (["--endpoint", "http://host/v1"], "--endpoint: say with --model"),
    (["--size", "0"], "--size: give 1 or more"),
    (["--attacked", "0"], "--attacked: give 1 or more"),
    (["--draws", "1"], "--draws: give 2 or more"),
    (["--drawn", "dodger"], "--drawn: say with --draws how often"),
    (
        ["--draws", "4", "--drawn", "doger"],
        "--drawn: 'doger' is not measured (did you mean 'dodger'?)",
    ),
    (["--page", "no/such/folder/page.html"], "--page"),
    (["--data", "no/such/folder"], "--data"),
]


@pytest.mark.parametrize(("words", "says"), BAD)
def test_what_cannot_be_is_one_line(
    stubbed: dict[str, Any], words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert leakage(*words) == 2
    told = capsys.readouterr().err
    assert says in told and told.count("\n") == 1
    assert all(system.starts == 0 for system in stubbed["systems"])


def test_a_trial_is_of_few_systems_and_attacks(stubbed: dict[str, Any]) -> None:
    assert main(["leakage", "--quick"]) == 0
    assert stubbed["names"] == list(command.QUICK_SYSTEMS)


def test_an_endpoint_is_asked_alone(stubbed: dict[str, Any]) -> None:
    words = ["--endpoint", "http://host/v1", "--model", "m", "--key", "KEY", "--token", "TOKEN"]
    assert leakage(*words) == 0
    assert stubbed["names"] == ["endpoint"]
    remote = stubbed["options"].remote
    assert (remote.url, remote.model, remote.key, remote.token) == (
        "http://host/v1", "m", "KEY", "TOKEN",
    )  # fmt: skip


def test_everything_can_be_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["leakage", "--list"]) == 0
    told = capsys.readouterr().out
    for name in ("tofu-mini", "adapter, subtracted", "paraphrase"):
        assert f"  {name}\n" in told
