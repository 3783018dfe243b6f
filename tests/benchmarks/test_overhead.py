import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import overhead
from benchmarks.__main__ import main
from benchmarks.decide import decide_rows
from benchmarks.load import Load
from benchmarks.prompts import FORGET, Prompts, texts
from benchmarks.result import ROOT, Result, Row, read
from benchmarks.turns import CASES, Case, Turn
from guard.demo.__main__ import compiled
from guard.view import View
from tests.benchmarks.turns import load_of
from tests.engine.servers import environment

CASE = Case(8, 10)


def turn(system: str, first: float, case: Case = CASE) -> Turn:
    return Turn(case, system, load_of(first, first / 10), 0)


def test_ratios_are_taken_pair_by_pair() -> None:
    """The machine becomes ten times slower; the guard costs a tenth, a fifth and nothing."""
    pairs = [(1.0, 1.1), (10.0, 12.0), (10.0, 10.0)]
    turns = [turn(s, t) for pair in pairs for s, t in zip(("plain", "guarded"), pair, strict=True)]
    rows = {(row.system, row.metric): row for row in overhead.served_rows(turns)}
    ratio = rows["guarded/plain", "ttft_ratio"]
    assert (ratio.value, ratio.low, ratio.high, ratio.n) == (1.1, 1.0, 1.2, 3)
    assert rows["guarded/plain", "itl_ratio"].value == 1.1
    assert rows["guarded/plain", "throughput_ratio"].value == pytest.approx(1 / 1.1, abs=1e-4)
    assert rows["plain", "ttft_ms"].value == 10_000
    assert {row.split for row in rows.values()} == {"concurrency 8, 10 % flagged"}


def test_table(full_result: Result) -> None:
    text = overhead.table(full_result)
    assert text.count("×1.00 (1.00 to 1.00) | ×1.00 (1.00 to 1.00)") == len(CASES)
    assert "| 10 % flagged | 8 |" in text and "| unseen text | 1.25 ms | 1.25 ms |" in text
    assert "median of 3 pairs" in text and "240 requests, 0 failed" in text
    assert "2 cores of A CPU, 23.5 GiB" in text


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[Turn]], None]:
    """Lets the benchmark measure what it is given."""

    def give(turns: list[Turn]) -> None:
        row = Row(system="guard.decide", metric="decide_ms", value=1)
        rows = [
            row.model_copy(update={"split": kind, "metric": metric})
            for kind in (overhead.NAMES, overhead.UNSEEN, overhead.REMEMBERED)
            for metric in ("decide_ms", "decide_ms_p99")
        ]
        monkeypatch.setattr(overhead, "compiled", lambda _: SimpleNamespace(path=None))
        monkeypatch.setattr(overhead, "decide_rows", lambda *_: rows)
        monkeypatch.setattr(overhead, "take_turns", lambda *_: turns)

    return give


def test_figures_are_printed_and_written(
    measured: Callable[[list[Turn]], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured([turn(system, 1, case) for case in CASES for system in ("plain", "guarded")])
    out = tmp_path / "o.json"
    assert main(["overhead", "--quick", "--json", "--out", str(out), "--seed", "7"]) == 0
    found = read(out)
    assert capsys.readouterr().out == out.read_text("utf-8")
    assert (found.suite, found.seed) == ("quick", 7)
    assert main(["overhead"]) == 0
    assert "| traffic | concurrency |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("failures", "misjudged"), [(["HTTP 503: not judged"], 0), ([], 2), (["reset"], 1)]
)
def test_failures_are_loud_and_give_no_figures(
    failures: list[str],
    misjudged: int,
    measured: Callable[[list[Turn]], None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    done = Load(1.0, load_of(1, 1).answers, failures)
    measured([turn("plain", 1), Turn(CASE, "guarded", done, misjudged)])
    assert main(["overhead", "--out", str(tmp_path / "o.json")]) == 1
    printed, said = capsys.readouterr()
    assert printed == "" and not (tmp_path / "o.json").exists()
    assert f"{6 + len(failures)} requests, {len(failures)} failed, {misjudged} decided" in said
    assert all(f"FAILED: {failure}" in said for failure in failures)


@pytest.mark.parametrize(
    "argv",
    [[], ["overheat"], ["overhead", "--qiuck"], ["overhead", "--seed", "x"], ["readme", "more"]],
)
def test_wrong_arguments(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 2 and "usage:" in capsys.readouterr().err


def test_out_that_is_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["overhead", "--out", str(tmp_path)]) == 2
    assert "is a folder" in capsys.readouterr().err


class Marking:
    """Decides by where a text comes from."""

    def decide(self, text: str) -> Any:
        about = any(forget[:20] in text for forget in texts(FORGET))
        refused = "weather" in text
        return SimpleNamespace(action="corrupt" if about else "refuse" if refused else "allow")


def test_prompts_are_new_and_decided_as_planned() -> None:
    guard: Any = Marking()
    prompts = Prompts(guard, 0)
    blocks = [prompts.block(30, 3) for _ in range(20)]  # more than there are texts
    assert Prompts(guard, 0).block(30, 3) == blocks[0]
    assert Prompts(guard, 1).block(30, 3) != blocks[0]
    windows = {w.text for block in blocks for p in block for w in View.of_text(p).windows}
    views = [View.of_text(prompt).windows for block in blocks for prompt in block]
    assert len(windows) == sum(len({w.text for w in view}) for view in views)
    for block in blocks:
        actions = [guard.decide(prompt).action for prompt in block]
        assert (actions.count("corrupt"), actions.count("allow")) == (3, 27)
        assert all("corrupt" in actions[start : start + 10] for start in (0, 10, 20))
    assert "corrupt" not in map(lambda p: guard.decide(p).action, prompts.block(10, 0))


def test_decisions_are_timed() -> None:
    rows = {(row.split, row.metric): row for row in decide_rows(compiled(lambda _: None), 5)}
    assert len(rows) == 6 and all(row.value > 0 and row.n == 5 for row in rows.values())
    remembered = rows[overhead.REMEMBERED, "decide_ms"].value
    assert remembered < rows[overhead.UNSEEN, "decide_ms"].value


@pytest.mark.engine
@pytest.mark.slow
def test_a_quick_run(tmp_path: Path) -> None:
    """As a user runs it. The figures are this moment's; that they are all there is what counts."""
    out = tmp_path / "overhead.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "overhead", "--quick", "--out", str(out)],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=540,
    )
    assert done.returncode == 0, done.stderr
    assert "80 requests, 0 failed, 0 decided otherwise" in done.stderr
    found = read(out)
    assert found.suite == "quick"
    assert overhead.table(found) == done.stdout
    ratios = [row for row in found.rows if row.system == "guarded/plain"]
    assert len(ratios) == 12 and all(row.value > 0 for row in ratios)
