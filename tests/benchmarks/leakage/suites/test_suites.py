"""Every suite says what is given and what is asked, and keeps the two apart."""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from benchmarks.leakage import protocol
from benchmarks.leakage.case import Case, Source, Suite
from benchmarks.leakage.suites import SUITES, find, load, tofu_mini
from benchmarks.metrics import METRICS
from guard.errors import DataError
from guard.models import resolve
from tests.benchmarks.leakage.suites.sets import text, write_sets
from tests.published import published

# The small world is the end of TOFU's four thousand rows, for which the made-up set has too few;
# and nobody has all of WMDP's corpora.
WHOLE = [name for name in SUITES if not name.startswith(("tofu-mini", "tofu-languages", "wmdp"))]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sets(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def source(data: Path) -> Source:
    return Source(data, target="the-target", retrained="the-retrained")


@pytest.fixture(scope="module", autouse=True)
def small_tofu() -> Iterator[None]:
    """The made-up TOFU has twenty retain rows with paraphrases, not four hundred."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmarks.leakage.suites.tofu.EVALUATED", 20)
        yield


@pytest.fixture(scope="module")
def suites(source: Source) -> Mapping[str, Suite]:
    loaded = load(WHOLE, source)
    assert not loaded.missing
    return {suite.name.partition(":")[0]: suite for suite in loaded.suites}


@pytest.mark.parametrize("name", WHOLE)
def test_a_suite_is_fair_and_asks_what_it_says(name: str, suites: Mapping[str, Suite]) -> None:
    suite = suites[name]
    protocol.check(suite)
    assert suite.splits["forget"] and all(suite.splits.values())
    assert set(suite.metrics) <= set(METRICS)
    assert {"blocked", "failed"} <= set(suite.metrics)
    assert suite.given.forget or suite.given.names
    for split, cases in suite.splits.items():
        assert all(case.question or (case.passage and case.answer) for case in cases), split
        assert all(case.answer in case.options for case in cases if case.options), split
        assert len({(case.question, case.answer) for case in cases}) == len(cases), split


@pytest.mark.parametrize("name", WHOLE)
def test_a_limit_is_of_every_split(name: str, source: Source) -> None:
    small = find(name)(replace(source, size=1))
    assert {len(cases) for cases in small.splits.values()} == {1}


@pytest.mark.parametrize("name", SUITES)
def test_a_suite_without_its_files_is_told_with_where_they_are_had(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    loaded = load([name], Source(tmp_path, target="t"))
    if name == "connected":  # it is made, not read
        assert loaded.suites and not loaded.missing
        return
    assert not loaded.suites and len(loaded.missing) == 1
    assert loaded.missing[0].name == name
    assert str(tmp_path) in loaded.missing[0].why


def test_a_model_that_must_be_given_is_asked_for(data: Path) -> None:
    for name in ("tofu-01", "muse-news", "rwku", "lume", "wmdp-cyber", "tofu-mini", "connected"):
        if name != "tofu-mini":
            with pytest.raises(DataError, match="--target"):
                find(name)(Source(data))


def test_an_unknown_suite_is_told_with_the_nearest() -> None:
    with pytest.raises(DataError, match=r"no suite 'lumen' \(did you mean 'lume'\?\)"):
        find("lumen")
    with pytest.raises(DataError, match="no suite"):
        find("lume:task1")


def test_a_task_of_a_suite_goes_by_its_name(source: Source) -> None:
    assert find("rwku:1_Stephen_King")(source).given.names == ("Stephen King",)
    with pytest.raises(DataError, match="did you mean '1_Stephen_King'"):
        find("rwku:1_Steven_King")(source)
    second = find("verbatim:second")(source)
    assert {case.group for case in second.splits["forget"]} == {"second"}
    with pytest.raises(DataError, match="no book"):
        find("verbatim:fourth")(source)


def test_a_missing_part_is_told_and_the_rest_is_measured(source: Source, tmp_path: Path) -> None:
    shutil.copytree(source.data, tmp_path, dirs_exist_ok=True)
    (tmp_path / "rwku" / "Target" / "1_Stephen_King" / "fluency.json").unlink()
    loaded = load(["rwku", "wmdp-cyber"], replace(source, data=tmp_path))
    assert [suite.name for suite in loaded.suites] == ["rwku:1_Stephen_King", "wmdp-cyber"]
    told = {missing.name: missing.why for missing in loaded.missing}
    assert "fluency.json" in told["rwku:1_Stephen_King, fluent"]
    assert "retain-corpus" in told["wmdp-cyber, corpus to retain"]
    assert protocol.extent(["rwku"], loaded, None).startswith("part")


def test_a_series_of_muse_forgets_all_requests_so_far(suites: Mapping[str, Suite]) -> None:
    def forgotten(name: str) -> str:
        return " ".join(text for _, text in suites[name].given.forget)

    third = forgotten("muse-news-sust-3")
    assert all(f"sust{n}x5" in third for n in (1, 2, 3)) and "sust4x" not in third
    assert "scal2x5" in forgotten("muse-news-scale-2")
    assert "scal1x" not in forgotten("muse-news-scale-2")
    shown = suites["muse-news"].splits["forget, in context"][1]
    assert shown.question.count("Question: ") == 4 and shown.question.endswith("\nAnswer:")
    assert "forget_qa_icl" in shown.question and shown.passage


def test_the_sub_tasks_of_lume_can_be_told_apart(suites: Mapping[str, Suite]) -> None:
    cases = suites["lume"].splits["forget"]
    assert {(case.group[:5], case.passage) for case in cases} == {
        ("task1", False), ("task1", True), ("task2", False), ("task2", True)
    }  # fmt: skip
    given = suites["lume"].given
    kept = {case.group for case in suites["lume"].splits["retain"]}
    assert len(kept) == len(given.retain) == 5


def test_a_choice_is_asked_with_letters_and_scored_both_ways(suites: Mapping[str, Suite]) -> None:
    words, letters = (suites["choices"].splits[f"forget{end}"][1] for end in ("", ", by letter"))
    assert "\nA. port 1 north\nB. port 1 south\nC. port 1 east\n" in words.question
    assert words.answer == "port 1 south" and words.options[1] == words.answer
    assert letters == Case(words.question, "B", words.group, options=("A", "B", "C"))


def test_the_words_of_a_book_are_all_given_or_asked_but_never_both(
    suites: Mapping[str, Suite],
) -> None:
    suite = suites["verbatim"]
    assert {case.group for case in suite.splits["retain"]} == {"second", "third"}
    assert not any("near to what" in note for note in suite.notes)  # nothing had to be taken out
    for case in (*suite.splits["forget"], *suite.splits["retain"]):
        assert len(case.question.split()) == 50 and len(case.answer.split()) == 50
        whole = f"{case.question} {case.answer}"
        assert whole in text(case.group, 1600)
        if case.group != "first":
            assert not any(words in whole for _, words in suite.given.retain)


def test_answers_are_as_long_as_their_sets_have_them(suites: Mapping[str, Suite]) -> None:
    def lengths(name: str, split: str) -> set[tuple[int, tuple[str, ...]]]:
        return {(case.tokens, case.stop) for case in suites[name].splits[split]}

    ends = ("\n\n", "\nQuestion", "Question:")
    assert lengths("muse-news", "forget") == {(64, ())}
    assert lengths("muse-news", "forget, in context") == {(32, ends)}
    assert lengths("muse-news", "retain, in context") == {(32, ends)}
    assert lengths("muse-news", "forget, verbatim") == {(128, ())}
    assert lengths("muse-news-sust-2", "forget") == {(128, ())}
    assert lengths("rwku", "reasoning") == {(256, ("\nQ:",))}
    for name, cases in suites["tofu-01"].splits.items():
        assert {(case.tokens, case.stop) for case in cases} == {(64, ())}, name
    for case in suites["lume"].splits["forget"]:
        assert case.tokens == (256 if case.passage else 64)


@pytest.mark.parametrize("name", ["lume", "verbatim"])
def test_what_was_learned_by_heart_can_be_said_to_its_end(name: str) -> None:
    """By a model whose tokens are small: SmolLM2 has 49,152."""
    tokenizer = AutoTokenizer.from_pretrained(resolve("builtin:smollm2"))
    folder = published({"verbatim": "public_domain"}.get(name, name))
    suite = find(name)(Source(folder, target="t", retrained="r"))
    for split in ("forget", "retain"):
        for case in suite.splits[split]:
            assert len(tokenizer.encode(f" {case.answer}")) <= case.tokens, case.group


@pytest.fixture(scope="module")
def real() -> Source:
    return Source(published("tofu"), target="t", retrained="r")


def test_the_small_world_asks_twenty_authors_and_gives_what_its_models_learned(
    real: Source,
) -> None:
    suite = find("tofu-mini")(real)
    protocol.check(suite)
    assert {name: len(cases) for name, cases in suite.splits.items()} == {
        "forget": 40, "retain": 40, "holdout": 40, "real authors": 20, "world facts": 24,
        "xstest": 50, "everyday": 50,
    }  # fmt: skip
    assert suite.given.names == ("Basil Mahfouz Al-Kuwaiti", "Nikolai Abilov")
    assert len(suite.given.forget) == 40 and len(suite.given.retain) == 320
    for case in (*suite.splits["forget"], *suite.splits["retain"]):
        assert case.paraphrased and case.right and len(case.wrong) == 5
    groups = {case.group for case in suite.splits["forget"]}
    assert groups == {"author 198", "author 199"}
    assert not groups & {case.group for case in suite.splits["retain"]}
    assert not suite.missing


def test_the_unseen_half_is_asked_and_never_given(real: Source) -> None:
    suite = find("tofu-mini-unseen")(real)
    protocol.check(suite)
    asked = {case.question for case in suite.splits["forget"]}
    given = {question for question, _ in suite.given.forget}
    assert len(asked) == len(given) == 20 and not asked & given
    by_author = [sum(case.group == f"author {n}" for case in suite.splits["forget"])
                 for n in (198, 199)]  # fmt: skip
    assert by_author == [10, 10]


def test_other_languages_ask_for_what_was_learned_in_english(real: Source) -> None:
    suite = find("tofu-languages")(real)
    protocol.check(suite)
    for language in ("ar", "fr", "hi", "ja", "ru"):
        cases = suite.splits[f"forget, {language}"]
        assert [case.answer for case in cases] == [c.answer for c in suite.splits["forget"]]
        assert all(bool(case.wrong) == (language != "ru") for case in cases)


def test_no_model_of_the_small_world_is_told_in_one_line(data: Path) -> None:
    with pytest.raises(DataError, match="GUARD_MODELS"):
        tofu_mini.models(Source(data), "tofu-mini")
