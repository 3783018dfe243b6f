from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.result import Result, Row, write
from benchmarks.table import figure, fill, filled, markdown
from guard.errors import GuardError
from tests.benchmarks.test_result import RESULT

SECTION = "# A\n\n<!-- results:overhead -->\nold\n<!-- /results -->\n\nB\n"
RENDERERS = {"overhead": lambda result: f"took {result.seconds} s\n"}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    write(RESULT, tmp_path / "results" / "overhead.json")
    return tmp_path / "results"


def test_markdown() -> None:
    assert markdown(["a", "b"], [["x|y", "1"], ["z", "2"]]) == (
        "| a | b |\n|---|---:|\n| x&#124;y | 1 |\n| z | 2 |\n"
    )


@pytest.mark.parametrize(
    ("row", "unit", "text"),
    [
        (Row(system="a", metric="b", value=1.034, low=0.9, high=1.25), "×", "×1.03 (0.90 to 1.25)"),
        (Row(system="a", metric="b", value=12.5), "ms", "12.50 ms"),
        (Row(system="a", metric="b", value=3), "", "3.00"),
    ],
)
def test_figure(row: Row, unit: str, text: str) -> None:
    assert figure(row, unit) == text


def test_sections_are_filled_and_nothing_else_changes(results: Path) -> None:
    assert filled(SECTION, RENDERERS, results) == SECTION.replace("old", "took 1.5 s")
    twice = SECTION + SECTION
    assert filled(twice, RENDERERS, results).count("took 1.5 s") == 2


def test_an_empty_section_is_filled(results: Path) -> None:
    assert "took 1.5 s" in filled(SECTION.replace("old\n", ""), RENDERERS, results)


def test_a_section_may_be_in_brief(results: Path) -> None:
    brief = SECTION.replace("overhead -->", "overhead in brief -->")
    forms = RENDERERS | {"overhead in brief": lambda result: "in a word\n"}
    both = filled(SECTION + brief, forms, results)
    assert both == (SECTION.replace("old", "took 1.5 s") + brief.replace("old", "in a word"))
    with pytest.raises(GuardError, match=r"results:overhead in brief -->: known are overhead$"):
        filled(brief, RENDERERS, results)


def test_drift_is_seen_and_mended(results: Path, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(SECTION, "utf-8")
    assert not fill(readme, RENDERERS, results, check=True)
    assert readme.read_text("utf-8") == SECTION
    assert not fill(readme, RENDERERS, results, check=False)
    assert fill(readme, RENDERERS, results, check=True)
    write(RESULT.model_copy(update={"seconds": 2.0}), results / "overhead.json")
    assert not fill(readme, RENDERERS, results, check=True)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("nothing", "no <!-- results:NAME -->"),
        (SECTION.replace("overhead", "overheat"), "results:overheat.*known are overhead"),
    ],
)
def test_a_section_that_cannot_be_filled(results: Path, text: str, why: str) -> None:
    with pytest.raises(GuardError, match=why):
        filled(text, RENDERERS, results)


@pytest.mark.parametrize("update", [{"suite": "quick"}, {"benchmark": "scale"}])
def test_only_full_runs_are_shown(results: Path, update: dict[str, str]) -> None:
    write(RESULT.model_copy(update=update), results / "overhead.json")
    with pytest.raises(GuardError, match="shown are only full runs of overhead"):
        filled(SECTION, RENDERERS, results)


def test_a_part_of_a_benchmark_has_a_section_of_its_own(results: Path) -> None:
    section = SECTION.replace("overhead", "overhead-output")
    path = results / "overhead-output.json"
    write(RESULT.model_copy(update={"suite": "full: part"}), path)
    assert "took 1.5 s" in filled(section, RENDERERS, results)
    write(RESULT, path)
    with pytest.raises(GuardError, match="holds a full run of overhead; shown are only"):
        filled(section, RENDERERS, results)


def test_no_result(tmp_path: Path) -> None:
    with pytest.raises(GuardError, match=r"overhead\.json: no such result"):
        filled(SECTION, RENDERERS, tmp_path)


def test_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], full_result: Result
) -> None:
    write(full_result, tmp_path / "overhead.json")
    readme = tmp_path / "README.md"
    readme.write_text(SECTION, "utf-8")
    command = ["readme", "--file", str(readme), "--results", str(tmp_path)]
    assert main([*command, "--check"]) == 1
    assert "run `python -m benchmarks readme`" in capsys.readouterr().err
    assert main(command) == 0
    assert main([*command, "--check"]) == 0
    readme.unlink()
    assert main(command) == 2
    assert "README.md: cannot be read" in capsys.readouterr().err


def test_the_readme_shows_the_committed_results() -> None:
    assert main(["readme", "--check"]) == 0
