"""What no other table shows is shown here, once, with what it does not stand on."""

from benchmarks.leakage.rest import COLUMNS, rest_tables
from benchmarks.leakage.shown import suites
from benchmarks.leakage.table import systems_table, table
from benchmarks.metrics import METRICS
from benchmarks.result import Result, Row
from tests.benchmarks.test_result import RESULT


def row(metric: str, split: str, value: float, system: str = "a", n: int = 40, **more: str) -> Row:
    return Row(system=system, split=f"s: {split}", metric=metric, value=value, n=n, **more)


def of(*rows: Row) -> Result:
    return RESULT.model_copy(update={"rows": rows})


def test_a_suite_of_privacy_is_not_a_table_of_dashes() -> None:
    rows = [
        row("privacy_leak", "forget", -57.21), row("auc_loss", "forget", 0.78),
        row("blocked", "forget", 0.0), row("failed", "forget", 0.0), row("unscored", "forget", 0.0),
    ]  # fmt: skip
    (shown,) = suites(of(*rows))
    ((header, lines),) = rest_tables(shown)
    assert header == ["asked as it is", "of", "better", "a"]
    assert sorted(lines) == [
        ["auc_loss", "forget (40)", "as retrained", "0.780"],
        ["privacy_leak", "forget (40)", "as retrained", "−57.2"],
    ]
    assert "| privacy\\_leak | forget (40) |" in table(of(*rows))
    assert systems_table(shown)[0] == ["system", "blocked"]


def test_every_split_is_shown_and_nothing_twice() -> None:
    rows = [
        *(row("rouge_l", of, 0.5) for of in ("forget", "forget, verbatim", "retain", "world")),
        row("rouge_l", "forget", 0.6, attack="typos"),
        row("perplexity", "forget", 3456.7, n=2), row("perplexity", "forget", 9.0, "b"),
        row("blocked", "forget", 0.25),
        row("failed", "forget", 0.0), row("failed", "world", 0.5), row("blocked", "world", 0.0),
    ]  # fmt: skip
    (shown,) = suites(of(*rows))
    ((_, lines),) = rest_tables(shown)
    assert [line[:2] for line in lines] == [
        ["rouge_l", "forget, verbatim (40)"], ["rouge_l", "world (40)"],
        ["perplexity", "forget (40)"],
    ]  # fmt: skip
    assert lines[1][3] == "0.500 [50 % failed]" and lines[2][3:] == [
        "3457 [25 %, 2 of 40]",
        "9.000",
    ]


def test_metrics_come_as_they_are_registered() -> None:
    figures = [name for metric in METRICS.values() for name in metric.FIGURES]
    rows = [row(name, "other", 0.1) for name in reversed(figures)]
    ((_, lines),) = rest_tables(suites(of(*rows))[0])
    places = [figures.index(line[0]) for line in lines]
    owners = [next(at for at, m in enumerate(METRICS.values()) if line[0] in m.FIGURES)
              for line in lines]  # fmt: skip
    assert owners == sorted(owners) and len(set(places)) == len(lines) > 30


def test_many_systems_are_many_tables_with_the_models_in_each() -> None:
    names = ["target", "retrained", *(f"system {n}" for n in range(COLUMNS + 1))]
    tables = rest_tables(suites(of(*(row("kfr", "forget", 0.1, name) for name in names)))[0])
    assert [header[3:5] for header, _ in tables] == [["target", "retrained"]] * 2
    assert sorted({name for header, _ in tables for name in header[3:]}) == sorted(names)


def test_without_anything_else_there_is_no_table() -> None:
    assert rest_tables(suites(of(row("rouge_l", "forget", 0.5)))[0]) == []
