import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import overhead
from benchmarks.__main__ import main
from benchmarks.decide import NAMES, REMEMBERED, UNSEEN, decide_rows
from benchmarks.load import Load
from benchmarks.prompts import BACKGROUND, texts
from benchmarks.result import ROOT, Row, read, write
from benchmarks.turns import QUICK, SYSTEMS, Case, Turn
from guard.demo.__main__ import compiled
from guard.encoder import Encoder
from tests.benchmarks.turns import Marking, load_of
from tests.engine.servers import environment

CASE = Case(8, 10)


def turn(system: str, first: float, case: Case = CASE) -> Turn:
    return Turn(case, system, load_of(first, first / 10), 0)


def test_ratios_are_taken_pair_by_pair() -> None:
    """The machine becomes ten times slower; the guard costs a tenth, a fifth and nothing."""
    pairs = [(1.0, 1.1), (10.0, 12.0), (10.0, 10.0)]
    turns = [turn(s, t) for pair in pairs for s, t in zip(SYSTEMS, pair, strict=True)]
    rows = {(row.system, row.metric): row for row in overhead.served_rows("corrupt", turns)}
    ratio = rows["guarded/plain", "ttft_ratio"]
    assert (ratio.value, ratio.low, ratio.high, ratio.n) == (1.1, 1.0, 1.2, 3)
    assert rows["guarded/plain", "itl_ratio"].value == 1.1
    assert rows["guarded/plain", "throughput_ratio"].value == pytest.approx(1 / 1.1, abs=1e-4)
    assert rows["plain", "ttft_ms"].value == 10_000
    failed = rows.pop(("all", "failed"))
    assert (failed.split, failed.value, failed.n) == ("corrupt", 0, 18)
    assert {row.split for row in rows.values()} == {"corrupt: concurrency 8, 10 % flagged"}


def test_where_all_is_refused_there_is_no_time_between_tokens() -> None:
    refused = Load({"throughput": 60.0, "ttft": 20.0}, 3)
    turns = [turn("plain", 1.0), Turn(CASE, "guarded", refused, 0)]
    rows = {(row.system, row.metric) for row in overhead.served_rows("refuse", turns)}
    assert not any(metric.startswith("itl") for _, metric in rows)
    assert ("guarded/plain", "ttft_ratio") in rows


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[Turn]], list[str]]:
    """Lets the benchmark measure what it is given; returns what it is told to measure."""

    def give(turns: list[Turn]) -> list[str]:
        row = Row(system="guard.decide", metric="decide_ms", value=1)
        rows = [
            row.model_copy(update={"split": kind, "metric": metric})
            for kind in (NAMES, UNSEEN, REMEMBERED)
            for metric in ("decide_ms", "decide_ms_p99")
        ]
        taken: list[str] = []

        def take(bundle: Any, *_: Any) -> list[Turn]:
            taken.append(bundle.path)
            return turns

        def fit(spec: Any, folder: Path) -> Any:
            kind = "output check" if "output" in spec else spec["intervene"]["kind"]
            return SimpleNamespace(path=kind)

        monkeypatch.setattr(overhead, "compiled", lambda _: None)
        monkeypatch.setattr(overhead, "decide_rows", lambda *_: rows)
        monkeypatch.setattr(overhead, "compiled_with", fit)
        monkeypatch.setattr(overhead, "Guard", SimpleNamespace(load=lambda path: Marking()))
        monkeypatch.setattr(overhead, "take_turns", take)
        return taken

    return give


POLICIES = ["refuse", "corrupt", "penalize", "instruct", "output check"]
ALL = [turn(system, 1, case) for case in QUICK.cases for system in SYSTEMS]
Measured = Callable[[list[Turn]], list[str]]


def test_figures_are_printed_and_written(
    measured: Measured, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = measured(ALL)
    out = tmp_path / "o.json"
    assert main(["overhead", "--quick", "--json", "--out", str(out), "--seed", "7"]) == 0
    found = read(out)
    assert capsys.readouterr().out == out.read_text("utf-8")
    assert (found.suite, found.seed) == ("quick", 7) and taken == ["corrupt"]
    assert main(["overhead"]) == 0
    assert taken[1:] == POLICIES
    assert "| policy | traffic | concurrency |" in capsys.readouterr().out
    assert main(["overhead", "--only", "refuse", "--out", str(out)]) == 0
    assert read(out).suite == "full: part"


def test_it_goes_on_with_what_was_measured(
    measured: Measured, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = measured(ALL)
    resume, out = ["--resume", str(tmp_path / "kept")], tmp_path / "o.json"
    assert main(["overhead", "--only", "refuse", *resume]) == 0
    assert main(["overhead", "--out", str(out), *resume]) == 0
    assert taken == POLICIES
    assert "refuse: measured before" in capsys.readouterr().err
    told = [row.split for row in read(out).rows if row.metric == "failed"]
    assert told == POLICIES


def test_one_policy_can_be_measured_anew(
    measured: Measured, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, out = tmp_path / "whole.json", tmp_path / "out.json"
    measured(ALL)
    assert main(["overhead", "--out", str(whole)]) == 0
    before = read(whole)
    measured(
        [turn(s, t, case) for case in QUICK.cases for s, t in zip(SYSTEMS, (1, 3), strict=True)]
    )
    renew = ["overhead", "--only", "corrupt", "--out", str(out), "--renew"]
    for _ in range(2):
        capsys.readouterr()
        assert main([*renew, str(whole)]) == 0
        found = read(out)
        assert found.suite == "full"
        mine = {r.value for r in found.rows if r.metric == "ttft_ratio" and "corrupt" in r.split}
        assert mine == {3.0}
        others = [row for row in found.rows if not (row.split or "").startswith("corrupt")]
        assert others == [r for r in before.rows if not (r.split or "").startswith("corrupt")]
        assert len(found.rows) == len(before.rows)
        assert found.rows[-1].system == "guard.decide"
        assert [r.split for r in found.rows if r.metric == "failed"] == POLICIES, "in their order"
        kept, new = found.parts
        assert {*kept.systems} == {*POLICIES} - {"corrupt"} and new.systems == ("corrupt",)
        assert "penalize" in (told := capsys.readouterr().out) and "×3.00" in told
        whole.write_text(out.read_text("utf-8"), "utf-8")  # and again


@pytest.mark.parametrize(
    ("change", "said"),
    [({"suite": "quick"}, "suite"), ({"seed": 5}, "seed"), ({"benchmark": "output"}, "benchmark")],
)
def test_what_is_no_full_result_is_not_renewed(
    measured: Measured, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Any, said: str
) -> None:
    taken, whole = measured(ALL), tmp_path / "whole.json"
    assert main(["overhead", "--out", str(whole)]) == 0
    taken.clear()
    write(read(whole).model_copy(update=change), whole)
    assert main(["overhead", "--only", "corrupt", "--renew", str(whole)]) == 2
    assert f"{whole}: {said}: must be" in capsys.readouterr().err
    assert main(["overhead", "--quick", "--renew", str(whole)]) == 2
    assert "--renew: a --quick run" in capsys.readouterr().err
    assert not taken, "nothing is measured in vain"


@pytest.mark.parametrize(
    ("failures", "misjudged"), [(["HTTP 503: not judged"], 0), ([], 2), (["reset"], 1)]
)
def test_failures_are_loud_and_give_no_figures(
    failures: list[str],
    misjudged: int,
    measured: Measured,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    done = Load({}, 3, 0, tuple(failures))
    measured([turn("plain", 1), Turn(CASE, "guarded", done, misjudged)])
    assert main(["overhead", "--out", str(tmp_path / "o.json")]) == 1
    printed, said = capsys.readouterr()
    assert printed == "" and not (tmp_path / "o.json").exists()
    assert f"{6 + len(failures)} requests, {len(failures)} failed, {misjudged} treated" in said
    assert all(f"FAILED: {failure}" in said for failure in failures)


def test_an_intervention_that_there_is_none_of(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["overhead", "--only", "adapter"]) == 2
    assert "--memory" in capsys.readouterr().err


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


def test_decisions_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = compiled(lambda _: None)
    encoded: list[str] = []
    encode = Encoder.__call__

    def counted(self: Encoder, texts: Sequence[str]) -> Any:
        encoded.extend(texts)
        return encode(self, texts)

    monkeypatch.setattr(Encoder, "__call__", counted)
    rows = {(row.split, row.metric): row for row in decide_rows(bundle, 60)}
    assert len(rows) == 6 and all(row.value > 0 and row.n == 60 for row in rows.values())
    assert {split for split, _ in rows} == {NAMES, UNSEEN, REMEMBERED}
    # What was seen is remembered: nothing is encoded twice.
    unseen = encoded[1:]
    assert unseen and len(unseen) == len({*unseen}) and {*unseen} <= {*texts(BACKGROUND)}


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
    assert "120 requests, 0 failed, 0 treated otherwise" in done.stderr
    found = read(out)
    assert found.suite == "quick"
    assert overhead.table(found) == done.stdout
    ratios = [row for row in found.rows if row.system == "guarded/plain"]
    assert len(ratios) == 18 and all(row.value > 0 for row in ratios)
