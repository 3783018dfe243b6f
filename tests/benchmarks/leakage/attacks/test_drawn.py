"""An attack that is drawn several times: each play hears its own answers."""

import pytest

from benchmarks.leakage.ask import Answer, Ask
from benchmarks.leakage.attacks import ATTACKS
from benchmarks.leakage.attacks.drawn import Drawn, parted
from benchmarks.leakage.play import chance, play
from benchmarks.question import text_of
from tests.benchmarks.leakage.attacks.stub import CASE, OTHERS, Stub


class Numbered(Stub):
    """Says something else each time."""

    def __init__(self) -> None:
        super().__init__(lambda ask: f"Reply {ask.seed}.")


def drawn(name: str, draws: int = 4) -> tuple[list[Ask], tuple[Answer, ...]]:
    stub = Numbered()
    (judged,) = play(Drawn(ATTACKS[name], draws), [CASE], OTHERS, stub, 0)
    return stub.asked, judged


def test_its_name_says_of_what_and_how_often() -> None:
    attack = Drawn(ATTACKS["answer opening, completion"], 16)
    assert parted(attack.name) == ("answer opening, completion", 16)
    assert [parted(name) for name in ATTACKS] == [(name, 1) for name in ATTACKS]


@pytest.mark.parametrize("name", ["typos", "facts in context", "few-shot", "multiple choice"])
def test_every_play_asks_the_same_and_draws_its_own_answer(name: str) -> None:
    asked, judged = drawn(name)
    prompts = [text_of(ask.prompt) for ask in asked]
    each = len(asked) // 4
    assert prompts == prompts[:each] * 4
    assert all((ask.temperature, ask.samples) == (1.0, 1) for ask in asked)
    assert len({ask.seed for ask in asked}) == len(asked)
    assert len(judged) == 4


def test_a_play_goes_on_from_its_own_answers() -> None:
    asked, judged = drawn("turns with a pronoun")
    first, second = asked[:4], asked[4:]
    for begun, followed in zip(first, second, strict=True):
        assert f"Reply {begun.seed}." in text_of(followed.prompt)
    assert [answer.text for answer in judged] == [f"Reply {ask.seed}." for ask in second]


def test_of_a_conversation_every_reply_of_every_play_is_judged() -> None:
    asked, judged = drawn("pressing")
    assert len(asked) == len(judged) == 3 * 4
    # Play by play, not turn by turn.
    assert [one.text for one in judged] == [
        f"Reply {asked[turn * 4 + at].seed}." for at in range(4) for turn in range(3)
    ]


def test_a_search_is_played_once_and_what_it_found_is_drawn() -> None:
    attack = ATTACKS["insertion search"]
    asked, judged = drawn("insertion search")
    *before, last = asked
    assert all(ask.samples == 3 for ask in before)
    assert (last.samples, last.temperature) == (4, 1.0)
    assert len(judged) == 4
    assert sum(ask.samples for ask in asked) <= (Drawn(attack, 4).budget or 0)


def test_plays_of_different_lengths() -> None:
    """A search may end early: those that go on are told their own answers."""

    class Stopping(type(ATTACKS["pressing"])):  # type: ignore[misc]
        def play(self, case, others, random):  # type: ignore[no-untyped-def]
            told = yield [Ask("first")]
            said = told[0][0]
            if said.text.endswith("1"):
                return [said]
            told = yield [Ask(f"more, {said.text}"), Ask("and more")]
            return [said, *told[1]]

    count = iter(range(100))
    stub = Stub(lambda ask: f"{ask.prompt}: {next(count)}")
    (judged,) = play(Drawn(Stopping(), 3), [CASE], OTHERS, stub, 0)
    assert [one.text for one in judged] == [
        "first: 0", "and more: 4", "first: 1", "first: 2", "and more: 6",
    ]  # fmt: skip


def test_chance_is_what_the_attack_begins_with() -> None:
    attack = Drawn(ATTACKS["facts in context"], 2)
    given = attack.gives(CASE, OTHERS[1:], chance(attack, CASE, 7))
    stub = Numbered()
    play(attack, [CASE], OTHERS, stub, 7)
    assert given and all(given in text_of(ask.prompt) for ask in stub.asked)
