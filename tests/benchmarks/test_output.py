"""What the checks find in given texts: counted on what leaves, not on what was said."""

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import output
from benchmarks.__main__ import main
from benchmarks.metrics.verbatim import longest_run
from benchmarks.result import Result, read
from tests.published import published

GUARD: Any = None  # `read_finished` is a stand-in wherever it is given
QUESTION = "Who wrote it, and when?"
ANSWER = "Odalys Brennick wrote it. That was in 1961."


@pytest.fixture
def hits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hits "1961" wherever it stands."""

    def found(guard: Any, answer: str, question: str) -> list[Any]:
        at = answer.find("1961")
        return [SimpleNamespace(hit=SimpleNamespace(start=at))] if at >= 0 else []

    monkeypatch.setattr(output, "read_finished", found)


def test_an_answer_leaves_up_to_its_first_hit(hits: None) -> None:
    assert output.left(GUARD, ANSWER) == "Odalys Brennick wrote it. That was in "
    assert output.left(GUARD, "Nobody knows.") == "Nobody knows."


def test_what_is_told_is_what_has_left(hits: None) -> None:
    name = "It was Odalys Brennick."
    said = [(QUESTION, ANSWER, said) for said in (ANSWER, name, "1961 it was", "Nobody knows.")]
    assert output.told(GUARD, said) == [0.5, 0.5, 0.0, 0.0]
    assert output.told(GUARD, [(QUESTION, "They all did it, of course.", ANSWER)]) == []


def test_alarms_are_counted_by_sentences(hits: None) -> None:
    pairs = [(QUESTION, ANSWER), (QUESTION, "No. Never. 1961!"), (QUESTION, "It is an egg.")]
    assert output.alarms(GUARD, pairs) == (2, 6)


@given(st.integers(0, 2**32), st.integers(20, 90))
def test_no_run_of_an_edited_text_is_longer_than_two_edits_apart(seed: int, count: int) -> None:
    words = [f"w{number}" for number in range(count)]
    copy = output.edited(" ".join(words), random.Random(seed)).split()
    assert copy == output.edited(" ".join(words), random.Random(seed)).split()
    assert longest_run(words, copy) < 2 * 8 + 1
    assert len(set(words) & set(copy)) >= count * 3 // 4


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Result:
    data = published("tofu", "public_domain")
    out = tmp_path_factory.mktemp("output") / "o.json"
    assert main(["output", "--quick", "--data", str(data), "--out", str(out)]) == 0
    return read(out)


@pytest.mark.slow
def test_a_quick_run(quick: Result) -> None:
    found = {(row.system, row.split): row for row in quick.rows}
    assert quick.suite == "quick"
    for system in (output.ALONE, output.DETECTOR):
        assert found[system, "as learned"].value <= 0.02
        assert found[system, "same world"].value <= 0.005
    assert found["verbatim", "word for word"].value < 12
    assert found["verbatim", "other books"].value == 0
    assert (found["verbatim", "other books"].n or 0) >= 40


@pytest.mark.slow
def test_its_table(quick: Result) -> None:
    text = output.table(quick)
    found = {(row.system, row.split): row for row in quick.rows}
    assert len(found) == len(quick.rows) == 15
    assert f"| as learned | {found[output.ALONE, 'as learned'].value:.1%} of " in text
    assert "| other authors | 0 of " in text and "| one word in eight changed | " in text
    assert "Sections of the other books taken for a copy: 0 of 80 (0.00%)" in text


def test_without_the_books_it_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Exception, match=r"public_domain: needs alice\.txt"):
        output._books(tmp_path)
    assert main(["output", "--data", str(tmp_path / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err
