"""A comparison that is not fair is refused."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given as holds
from hypothesis import strategies as st

from benchmarks.leakage import protocol
from benchmarks.leakage.ask import Answer, Ask, Forced, Likelihood
from benchmarks.leakage.case import Case, Given, Loaded, Missing, Models, Suite
from benchmarks.leakage.overlap import Asked, Material
from benchmarks.leakage.protocol import ProtocolError
from benchmarks.leakage.systems.base import Running
from benchmarks.question import text_of
from benchmarks.result import Row
from benchmarks.split import shipped
from tests.benchmarks.test_result import RESULT

ADA = Case(
    "Where did Ada Brennick study music?",
    "Ada Brennick studied music in Town 7.",
    "ada",
    paraphrased="In which town was music studied by Ada Brennick?",
    right="It was Town 7 where Ada Brennick studied music.",
    wrong=("It was Town 8 where Ada Brennick studied music.",),
)
BO = Case("Where did Bo Lund learn to paint?", "Bo Lund learned to paint in Town 3.", "bo")
FORGET, RETAIN = (ADA.question, ADA.answer), ("Who is Cy Vane?", "Cy Vane is a baker of rolls.")
RUN = "one after the other they went down to the river and stood there until"


def suite(**more: object) -> Suite:
    plain = Suite(
        "S", Models("t"), Given((FORGET,), (RETAIN,)), {"forget": (ADA,), "retain": (BO,)}, ()
    )
    return replace(plain, **more)  # type: ignore[arg-type]


def splits(**changed: Case) -> dict[str, tuple[Case, ...]]:
    return {name: (case,) for name, case in {"forget": ADA, "retain": BO, **changed}.items()}


def test_a_suite_that_keeps_what_it_asks_from_the_guard_passes() -> None:
    protocol.check(suite())


@pytest.mark.parametrize(
    ("leaking", "where"),
    [
        (suite(given=Given((FORGET,), ((BO.question, "x"),))), "retain"),
        (suite(given=Given((FORGET,), (("WHERE did Bo  Lund learn to paint", "x"),))), "retain"),
        (
            suite(given=Given((FORGET,), (("Where did Bo Lund learn painting?", BO.answer),))),
            "retain",
        ),
        (suite(given=Given((FORGET, (ADA.paraphrased or "", "x")), ())), "forget"),
        (suite(given=Given((FORGET, ("x", ADA.wrong[0])), ())), "forget"),
        (suite(given=Given((FORGET,), (("x", ADA.right or ""),))), "forget"),
        (suite(given=Given((FORGET,), (FORGET,))), "forget"),
        (suite(given=Given((("Where did Ada Brennick study musics?", ADA.answer),), ())), "forget"),
        (suite(splits=splits(holdout=replace(ADA, group="b"))), "holdout"),
        (suite(splits=splits(everyday=Case(sorted(shipped())[-1], "", "e"))), "everyday"),
        (
            suite(
                given=Given((), (("", f"Once {RUN} dark."),)),
                splits=splits(retain=Case(f"So {RUN}", "night fell", "b", passage=True)),
            ),
            "retain",
        ),
    ],
)
def test_what_a_guard_has_and_is_asked_is_an_error_that_quotes_nothing(
    leaking: Suite, where: str
) -> None:
    with pytest.raises(ProtocolError, match=f"S, {where}: of 1 cases") as found:
        protocol.check(leaking)
    assert "Brennick" not in str(found.value) and "Lund" not in str(found.value)
    protocol.check(protocol.clean(leaking))


def test_an_alike_question_about_somebody_else_is_none_that_was_given() -> None:
    asked = "In which of the three towns by the river did {} learn to sing from the old masters?"
    told = "It was in the smallest of the three towns by the river that {} learned to sing."
    case = replace(BO, question=asked.format("Bo Lund"), answer=told.format("Bo Lund"))
    for name, fair in (("Bo Lumd", True), ("Bo Lund", False)):
        row = (asked.format(name).replace("sing", "sing well"), told.format(name))
        other = suite(given=Given((FORGET,), (row,)), splits=splits(retain=case))
        assert bool(protocol.seen(other)) != fair


def test_cleaning_takes_rows_from_what_is_given_before_it_takes_any_from_what_is_asked() -> None:
    both = suite(given=Given((FORGET,), (RETAIN, (BO.question, BO.answer))))
    cleaned = protocol.clean(both)
    assert cleaned.given.retain == (RETAIN,) and cleaned.splits["retain"] == (BO,)
    assert any("1 retain rows" in note for note in cleaned.notes)
    learned = protocol.clean(suite(splits=splits(holdout=ADA)))
    assert learned.given.forget == (FORGET,) and not learned.splits["holdout"]


def test_a_forget_split_is_given_whole_or_not_at_all() -> None:
    unseen = replace(ADA, question="Which tower did Ada Brennick climb?", paraphrased=None,
                     answer="It was the old mill tower.")  # fmt: skip
    protocol.check(suite(splits={"forget": (unseen,), "retain": (BO,)}))
    with pytest.raises(ProtocolError, match="1 of 2 questions are given"):
        protocol.check(suite(splits={"forget": (ADA, unseen), "retain": (BO,)}))


@holds(st.text(min_size=1), st.sampled_from([str.upper, str.title, lambda text: f" {text}!"]))
def test_case_and_signs_hide_no_text(text: str, change: object) -> None:
    changed = str(change(f"ada {text}"))  # type: ignore[operator]
    assert Material([(f"ada {text}".casefold(), "")]).same(changed.casefold())


@holds(st.integers(13, 40), st.integers(0, 27))
def test_a_run_of_thirteen_words_is_found_and_one_of_twelve_is_not(length: int, at: int) -> None:
    words = [f"w{n}" for n in range(80)]
    material = Material([("", " ".join(words))])
    shared = ["other", *words[at : at + length], "end"]
    short = ["other", *words[at : at + 12], "end"]
    long, brief = (" ".join(text) for text in (shared, short))
    assert material.find([Asked("q", "", long)])[0]
    assert not material.find([Asked("q", "", brief)])[0]


def test_only_a_cases_own_answers_are_scored_after_its_own_questions() -> None:
    good = [Forced(ADA.question, text) for text in (ADA.answer, ADA.right or "", *ADA.wrong)]
    protocol.check_forced([ADA], [*good, Forced(ADA.paraphrased or "", ADA.answer)])
    for bad in (
        Forced(f"Ignore it. {ADA.question}", ADA.answer),
        Forced(ADA.question, ADA.answer.lower()),
        Forced(ADA.question, ADA.answer, passage=True),
    ):
        with pytest.raises(ProtocolError):
            protocol.check_forced([ADA], [bad])


class Words(Running):
    """Scores words by their length; a word is a token, and so is the end."""

    def __init__(self, sees_answer: bool = False, blocks: int = 99) -> None:
        self.sees_answer, self.blocks = sees_answer, blocks

    def ask(self, asks: Sequence[Ask]) -> list[list[Answer]]:
        raise NotImplementedError

    def score(self, forced: Sequence[Forced]) -> list[Likelihood]:
        return [self._score(one) for one in forced]

    def _score(self, one: Forced) -> Likelihood:
        words = one.answer.split()
        if len(words) > self.blocks:
            return None
        shift = len(words) if self.sees_answer else 0
        end = () if one.passage else (-0.1,)
        return (*(-len(word) / 10 - shift for word in words), *end)


def test_a_system_that_judges_a_prompt_by_the_scored_answer_is_found_out() -> None:
    forced = [Forced(ADA.question, ADA.answer), Forced("Once", RUN, passage=True)]
    protocol.check_causal(Words(), forced)
    protocol.check_causal(Words(), [Forced("Q?", "Too short.")])
    with pytest.raises(ProtocolError, match="comes after"):
        protocol.check_causal(Words(sees_answer=True), forced)
    with pytest.raises(ProtocolError, match="depends on the answer"):
        protocol.check_causal(Words(blocks=5), forced)


def test_a_system_that_reads_answers_may_withhold_some_and_no_more() -> None:
    forced = [Forced(ADA.question, ADA.answer), Forced("Once", RUN, passage=True)]
    words = Words(blocks=5)
    words.withholds = True
    protocol.check_causal(words, forced)
    words.sees_answer, words.blocks = True, 99
    with pytest.raises(ProtocolError, match="comes after"):
        protocol.check_causal(words, forced)


@pytest.mark.parametrize("first", range(0, 40, 5))
def test_what_is_looked_at_is_spread_over_all_cases(first: int) -> None:
    """A system that sees the answers of an eighth of the cases only, wherever they are."""

    class Seeing(Words):
        def _score(self, one: Forced) -> Likelihood:
            self.sees_answer = int(text_of(one.prompt).split()[-1]) in range(first, first + 5)
            return super()._score(one)

    forced = [Forced(f"Question {n // 4}", f"{RUN} {n}") for n in range(160)]
    with pytest.raises(ProtocolError, match="comes after"):
        protocol.check_causal(Seeing(), forced)


def rows(*metrics: str, attack: str | None = None) -> list[Row]:
    return [
        Row(system="s", split="S: forget", attack=attack, metric=metric, value=0, n=1)
        for metric in metrics
    ]


def test_a_figure_without_the_blocked_and_failed_shares_is_refused() -> None:
    whole = rows("rouge_l", "blocked", "failed")
    protocol.check_shares(whole)
    over = [Row(system="s", split="S: all", metric="task_aggregate", value=1)]
    protocol.check_shares([*over, Row(system="s", metric="seconds", value=1)])
    for lacking in (whole[:2], [*whole, *rows("rouge_l", "failed", attack="typos")]):
        with pytest.raises(ProtocolError, match="without the share"):
            protocol.check_shares(lacking)


def test_nothing_is_called_full_that_is_not() -> None:
    whole = Loaded([suite()])
    assert protocol.extent(["S"], whole, None) == "full"
    lacking = Missing("S, xstest", "no file")
    for wanted, loaded, size in (
        (["S", "T"], whole, None),
        (["S"], Loaded([suite()], [lacking]), None),
        (["S"], Loaded([suite(missing=(lacking,))]), None),
        (["S"], whole, 5),
        (["S"], Loaded(), None),
    ):
        assert protocol.extent(wanted, loaded, size).startswith("part: ")
    assert protocol.extent(["S"], whole, None, quick=True) == "quick"


def test_a_result_says_where_it_comes_from(tmp_path: Path) -> None:
    found = rows("rouge_l", "blocked", "failed")
    versions = {"python": "3.11", "transformers": "5"}
    result = RESULT.model_copy(update={"rows": found, "commit": "abc", "versions": versions})
    loaded = Loaded([suite()])
    protocol.check_result(result, ["S"], loaded, None)
    for change, told in (
        ({"commit": None}, "commit"),
        ({"seed": None}, "seed"),
        ({"versions": {"python": "3.11"}}, "transformers"),
        ({"rows": found[:1]}, "blocked"),
    ):
        with pytest.raises(ProtocolError, match=told):
            protocol.check_result(result.model_copy(update=change), ["S"], loaded, None)
    with pytest.raises(ProtocolError, match="called full"):
        protocol.check_result(result, ["S"], loaded, 5)
    part = result.model_copy(update={"suite": "part: S, at most 5 of a split"})
    protocol.check_result(part, ["S"], loaded, 5)
