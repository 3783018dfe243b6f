"""The detector sees no evaluation question, nor a paraphrase, when it is made."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example
from hypothesis import given as holds
from hypothesis import strategies as st

from benchmarks.prompts import BACKGROUND, texts
from benchmarks.question import Question, questions
from benchmarks.split import Fold, SplitError, Suite, Target, check, given, normalised, shipped
from benchmarks.suites import benign, lume, tofu
from guard.errors import DataError
from tests.benchmarks.datasets import FORGOTTEN, NAMES, tofu_rows, write_data
from tests.published import published

TARGET = Target(({"question": "Who is Ada?", "answer": "A poet."},), ({"question": "Who is Bo?"},))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


def suite(positive: str, negative: str = "Who is Cy?", **more: object) -> Suite:
    fold = Fold({"t": TARGET}, (Question(positive, "p"),), (Question(negative, "n"),))
    return Suite("S", (fold,), "neighbours", **more)  # type: ignore[arg-type]


def test_a_clean_split_passes() -> None:
    check(suite("Tell me about Ada."))


@pytest.mark.parametrize(
    "leaking",
    [
        suite("who is  ADA"),
        suite("Whо".replace("о", "o") + " is Ádá?"),
        suite("A poet"),
        suite("Tell me.", "Who is Bo"),
        suite("Tell me.", elsewhere={"x": questions(["who is bo?"], "x")}),
        suite("Tell me.", benign={"x": questions(["WHO IS ADA?"], "x")}),
        suite("Tell me.", extra={"x": questions(["Who is Ada ?"], "x")}),
        suite("Tell me.", f"{texts(BACKGROUND)[0]} !"),  # what the guard itself brings along
    ],
)
def test_a_leak_is_an_error_that_quotes_nothing(leaking: Suite) -> None:
    with pytest.raises(SplitError, match=r"fold 0: 1 of 1 questions of '\w+'") as found:
        check(leaking)
    assert "Ada" not in str(found.value) and "Bo" not in str(found.value)


def test_nobody_is_on_both_sides() -> None:
    both = suite("Tell me.")
    fold = replace(both.folds[0], negatives=(Question("And me?", "p"),))
    with pytest.raises(SplitError, match="both sides"):
        check(replace(both, folds=(fold,)))


@example("\U0001d608")  # a mathematical capital A, which was left one
@holds(st.text())
def test_normalised_is_idempotent_and_blind_to_case(text: str) -> None:
    once = normalised(text)
    assert normalised(once) == once
    assert once.strip() or not text.strip() or once == text


def test_what_ships_is_known() -> None:
    assert {normalised(text) for text in texts(BACKGROUND)} <= shipped()


def test_tofu_is_cross_fitted_by_author(data: Path) -> None:
    made = tofu.load(data, "10", 0)
    check(made)
    assert len(made.folds) == tofu.FOLDS
    judged = [question.text for fold in made.folds for question in fold.negatives]
    assert sorted(judged) == sorted(r["question"] for name in NAMES[:-2] for r in tofu_rows(name))
    for fold in made.folds:
        kept = {row["question"] for row in fold.targets["tofu"].retain}
        for name in NAMES[:-2]:
            held_out = [row["question"] in kept for row in tofu_rows(name)]
            assert all(held_out) or not any(held_out)
        assert len(fold.positives) == 40
        assert {question.subject for question in fold.positives} == set(FORGOTTEN)
        assert set(fold.targets["tofu"].names) == set(FORGOTTEN)
    assert tofu.load(data, "10", 0) == made
    assert tofu.load(data, "10", 1) != made


def test_a_paraphrase_that_is_the_question_is_dropped(data: Path, tmp_path: Path) -> None:
    folder = write_data(tmp_path / "data")
    path = folder / "tofu" / "forget10_perturbed.json"
    path.write_text(path.read_text().replace("Please name the place: ", "", 1), "utf-8")
    made = tofu.load(folder, "10", 0)
    check(made)
    assert made.dropped == 1 and {len(fold.positives) for fold in made.folds} == {39}


def test_the_other_suites_are_clean(data: Path) -> None:
    many = tofu.load_multilingual(data, 0)
    check(many)
    assert {len(asked) for asked in many.extra.values()} == {40} and len(many.extra) == 5
    novels = lume.load(data, None, 0)
    check(novels)
    asked = [question.text for fold in novels.folds for question in fold.negatives]
    assert len(asked) == len(set(asked)) == 20
    for fold in novels.folds:
        assert {len(target.forget) for target in fold.targets.values()} == {5}
        assert len(fold.positives) == 20 and len(fold.targets["task1"].retain) in (2, 3)


def test_benign_sets_are_read_and_drawn(data: Path) -> None:
    every, _ = benign.load(data, None, 0)
    assert every.keys() == benign.SETS.keys() and all(len(asked) >= 4 for asked in every.values())
    few, _ = benign.load(data, 3, 0)
    assert {len(asked) for asked in few.values()} == {3}
    assert all(set(few[name]) <= set(every[name]) for name in few)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"full\.json: no such file"):
        tofu.load(tmp_path, "10", 0)


def test_forget_rows_must_be_the_last_ones(tmp_path: Path) -> None:
    folder = write_data(tmp_path)
    (folder / "tofu" / "forget10.json").write_text('{"question": "a", "answer": "b"}\n', "utf-8")
    with pytest.raises(DataError, match=r"forget10\.json is not the end"):
        tofu.load(folder, "10", 0)


def test_the_real_sets_are_clean() -> None:
    folder = published("tofu", "lume")
    made = tofu.load(folder, "10", 0)
    check(made)
    assert {len(fold.targets["tofu"].forget) for fold in made.folds} == {400}
    # "What is the full name of the author?" is asked of two authors.
    assert sum(len(fold.negatives) for fold in made.folds) == 3598
    assert all(len(fold.positives) == 400 for fold in made.folds)
    check(lume.load(folder, 150, 0))


def test_given_holds_every_row() -> None:
    assert {"who is ada", "a poet", "who is bo"} <= given(suite("x").folds[0])
