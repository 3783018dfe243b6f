"""The README's view of a leakage result: each cell is that of the whole tables."""

from collections.abc import Mapping

import pytest

from benchmarks.leakage.brief import brief, brief_table
from benchmarks.leakage.shown import Shown, suites
from benchmarks.leakage.table import systems_table
from benchmarks.leakage.told import TOLD, told_table
from benchmarks.leakage.written import Lines
from benchmarks.result import Result, Row
from tests.benchmarks.leakage.made_up import result
from tests.benchmarks.test_result import RESULT


@pytest.fixture(scope="module")
def shown() -> Shown:
    return suites(result())[0]


def _by_system(lines: Lines) -> dict[str, Mapping[str, str]]:
    return {line[0]: dict(zip(lines[0], line, strict=True)) for line in lines[1]}


def test_it_is_what_the_whole_tables_say(shown: Shown) -> None:
    found, systems, told = map(
        _by_system, (brief_table(shown), systems_table(shown), told_table(shown))
    )
    assert found.keys() == systems.keys()
    alike = 0
    for system, cells in found.items():
        for heading, cell in cells.items():
            whole = {**told.get(system, {}), **systems[system]}
            if heading in whole and not heading.startswith("forget "):
                assert cell == whole[heading], (system, heading)
                alike += cell != "–"
    assert alike


def test_who_tells_least_is_first_and_the_yardsticks_are_last() -> None:
    def of(system: str, attack: str, told: float, words: float) -> list[Row]:
        row = Row(system=system, split="s: forget", metric=TOLD, attack=attack, value=told)
        return [row, row.model_copy(update={"metric": "rouge_l", "value": words})]

    rows = [
        *of("target", "typos", 1.0, 1.0),
        *of("wordy", "typos", 0.0, 0.9),
        *of("telling", "typos", 0.5, 0.1),
        *of("retrained", "typos", 0.25, 0.2),
        *of("silent", "typos", 0.0, 0.0),
    ]
    (one,) = suites(RESULT.model_copy(update={"rows": tuple(rows)}))
    order = [line[0] for line in brief_table(one)[1]]
    assert order == ["silent", "wordy", "telling", "retrained", "target"]


def test_no_system_is_left_out_and_no_column_is_empty(shown: Shown) -> None:
    header, lines = brief_table(shown)
    assert {line[0] for line in lines} == set(shown.systems)
    for at in range(1, len(header)):
        assert any(line[at] != "–" for line in lines), header[at]


def test_what_was_answered_by_something_else_is_said() -> None:
    def row(metric: str, value: float, attack: str | None = None) -> Row:
        return Row(system="a", split="s: forget", metric=metric, attack=attack, value=value)

    rows = [row("rouge_l", 0.2), row("blocked", 0.5), row("failed", 0.25), row(TOLD, 0.5, "typos"),
            row("rouge_l", 0.2, "typos"), row("failed", 0.75, "typos")]  # fmt: skip
    made: Result = RESULT.model_copy(update={"rows": tuple(rows)})
    text = brief(made)
    assert "| a | 0.200 \\[50 %, 25 % failed\\] |" in text
    assert "| 1 of 1 |" in text and "| 75 % |" in text


def test_suites_are_told_apart() -> None:
    rows = [Row(system="a", split=f"{name}: forget", metric="rouge_l", value=0.2, n=1)
            for name in ("one", "two")]  # fmt: skip
    text = brief(RESULT.model_copy(update={"rows": tuple(rows)}))
    assert text.index("**one**") < text.index("**two**")
    assert text.count(RESULT.machine.cpu) == 1
