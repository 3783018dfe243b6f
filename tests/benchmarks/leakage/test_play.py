import random
from collections.abc import Sequence

import pytest

from benchmarks.leakage.ask import Answer, Ask
from benchmarks.leakage.attacks.base import Attack, Play
from benchmarks.leakage.case import Case
from benchmarks.leakage.play import play, play_all
from guard.errors import GuardError
from tests.benchmarks.leakage.attacks.stub import Stub, echo

CASES = [Case(f"{n}", f"answer {n}", f"group {n}") for n in range(5)]


class Counting(Attack):
    """Asks as often as the question says, each time with a number drawn by chance."""

    name = "counting"
    cost = 5

    def play(self, case: Case, others: Sequence[Case], random: random.Random) -> Play:
        said = [Answer("nothing")]
        for _ in range(int(case.question)):
            told = yield [Ask(f"{case.question} {random.random()} {len(others)}")]
            said += told[0]
        return said

    def applies(self, case: Case) -> bool:
        return case.question.isdigit()


class Greedy(Counting):
    """Has a budget that it does not keep."""

    name = "greedy"
    budget = 3


class Silent(Attack):
    """Ends without an answer."""

    name = "silent"

    def play(self, case: Case, others: Sequence[Case], random: random.Random) -> Play:
        yield [Ask(case.question)]
        return []


def test_cases_go_forward_together() -> None:
    stub = Stub(echo)
    judged = play(Counting(), CASES, (), stub, 0)
    assert stub.batches == [4, 3, 2, 1]
    assert [len(answers) for answers in judged] == [1, 2, 3, 4, 5]
    assert all(
        answer.text.startswith(case.question)
        for case, answers in zip(CASES, judged, strict=True)
        for answer in answers[1:]
    )


def test_batches_are_no_larger_than_is_said() -> None:
    stub = Stub(echo)
    assert play(Counting(), CASES, (), stub, 0, batch=3) == play(
        Counting(), CASES, (), Stub(echo), 0
    )
    assert stub.batches == [3, 1, 3, 2, 1]


def test_a_case_is_asked_the_same_whoever_is_beside_it() -> None:
    together = play(Counting(), CASES, (), Stub(echo), 0)
    alone = [play(Counting(), [case], (), Stub(echo), 0)[0] for case in CASES]
    assert list(together) == alone
    assert together != play(Counting(), CASES, (), Stub(echo), 1)


def test_attacks_are_played_together_and_each_has_its_own_answers() -> None:
    other = Counting()
    other.name = "counting again"
    stub = Stub(echo)
    both = play_all([(Counting(), CASES), (other, CASES[1:3])], (), stub, 0)
    assert stub.batches == [6, 4, 2, 1]
    assert both == [play(Counting(), CASES, (), Stub(echo), 0),
                    play(other, CASES[1:3], (), Stub(echo), 0)]  # fmt: skip
    assert both[1] != both[0][1:3]


def test_no_case_is_told_of_itself() -> None:
    judged = play(Counting(), CASES[1:2], CASES, Stub(echo), 0)
    assert judged[0][1].text.endswith(" 4")


def test_progress_and_all_that_is_said_are_told() -> None:
    done: list[tuple[int, int]] = []
    heard: list[tuple[int, int]] = []
    play(
        Counting(), CASES, (), Stub(echo), 0,
        progress=lambda n, of: done.append((n, of)),
        heard=lambda n, asks, answers: heard.append((n, len(asks) + len(answers))),
    )  # fmt: skip
    assert done == [(2, 5), (3, 5), (4, 5), (5, 5)]
    assert sorted(heard) == [(n, 2) for n in range(5) for _ in range(n)]


def test_a_failed_answer_goes_back_like_any_other() -> None:
    judged = play(Counting(), CASES[2:3], (), Stub(lambda ask: Answer("", "failed")), 0)
    assert [answer.state for answer in judged[0]] == ["answered", "failed", "failed"]


def test_who_goes_over_a_budget_is_stopped() -> None:
    stub = Stub(echo)
    with pytest.raises(GuardError, match="greedy: asks for more than its budget of 3"):
        play(Greedy(), CASES, (), stub, 0)
    assert len(stub.asked) == 4 + 3 + 2


def test_a_case_that_an_attack_does_not_apply_to_is_refused() -> None:
    with pytest.raises(GuardError, match="counting: does not apply to case 1"):
        play(Counting(), [CASES[0], Case("no", "number", "g")], (), Stub(echo), 0)


def test_an_attack_must_say_what_is_judged() -> None:
    with pytest.raises(GuardError, match="silent: ended without an answer"):
        play(Silent(), CASES, (), Stub(echo), 0)


def test_no_cases_are_no_answers() -> None:
    assert play(Counting(), [], (), Stub(echo), 0) == ()
