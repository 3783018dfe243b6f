import random
from collections.abc import Callable, Sequence

import pytest

from benchmarks.leakage.ask import Answer, Ask
from benchmarks.leakage.attacks import ATTACKS, Attack
from benchmarks.leakage.attacks.insertion_search import InsertionSearch
from benchmarks.leakage.attacks.paraphrase_search import ParaphraseSearch
from benchmarks.leakage.attacks.search import SAMPLES, WIDTH
from benchmarks.leakage.play import play
from benchmarks.question import text_of
from tests.benchmarks.leakage.attacks.stub import CASE, Stub

SEARCHES = [
    pytest.param(ATTACKS[name], id=name) for name in ("paraphrase search", "insertion search")
]
REFUSAL = "I'm sorry, I cannot answer that."


@pytest.mark.parametrize("attack", SEARCHES)
def test_a_search_ends_early_when_it_is_sure(attack: Attack) -> None:
    stub = Stub(lambda ask: CASE.answer)
    play(attack, [CASE], (), stub, 0)
    assert len(stub.asked) == WIDTH + 1
    assert stub.asked[0].prompt == CASE.question


@pytest.mark.parametrize("attack", SEARCHES)
def test_a_search_against_a_wall_goes_to_the_end_of_its_budget(attack: Attack) -> None:
    stub = Stub(lambda ask: REFUSAL)
    (judged,) = play(attack, [CASE], (), stub, 0)
    assert sum(ask.samples for ask in stub.asked) == attack.budget
    assert len({ask.prompt for ask in stub.asked[:-1]}) == len(stub.asked) - 1
    assert [answer.text for answer in judged] == [REFUSAL]


@pytest.mark.parametrize("attack", SEARCHES)
def test_a_search_finds_what_a_detector_of_the_exact_question_misses(attack: Attack) -> None:
    def answer(ask: Ask) -> str:
        return REFUSAL if ask.prompt == CASE.question else CASE.answer

    (judged,) = play(attack, [CASE], (), Stub(answer), 0)
    assert [answer.text for answer in judged] == [CASE.answer]


@pytest.mark.parametrize(
    ("name", "passes"),
    [
        ("insertion search", lambda new: new >= 6),
        ("paraphrase search", lambda new: new >= 6),
    ],
)
def test_a_search_climbs(name: str, passes: Callable[[int], bool]) -> None:
    """The further a prompt is from the question, the surer the answers: no single change does."""

    def answer(ask: Ask) -> str:
        new = sum(word not in CASE.question.split() for word in text_of(ask.prompt).split())
        if passes(new):
            return CASE.answer
        return f"{'told alike ' * new}{' '.join(noise.choices(words, k=6))}"

    noise, words = random.Random(0), [f"word{n}" for n in range(99)]

    class Noisy(Stub):
        def ask(self, asks: Sequence[Ask]) -> list[list[Answer]]:
            self.asked += asks
            return [[Answer(answer(ask)) for _ in range(ask.samples)] for ask in asks]

    found = 0
    for seed in range(5):
        (judged,) = play(ATTACKS[name], [CASE], (), Noisy(lambda ask: ""), seed)
        found += judged[0].text == CASE.answer
    assert found >= 3


def test_samples_of_a_prompt_are_drawn_together() -> None:
    stub = Stub(lambda ask: REFUSAL)
    play(ATTACKS["insertion search"], [CASE], (), stub, 0)
    assert {(ask.samples, ask.temperature) for ask in stub.asked[:-1]} == {(SAMPLES, 1.0)}
    assert (stub.asked[-1].samples, stub.asked[-1].temperature) == (1, 0.0)


@pytest.mark.parametrize("seed", range(20))
def test_insertions_leave_the_question_whole(seed: int) -> None:
    chance, text = random.Random(seed), CASE.question
    for _ in range(6):
        text = InsertionSearch().change(text, CASE, chance)
        words = iter(text.split())
        assert all(word in words for word in CASE.question.split()), "in their order"


def test_paraphrases_change_words_order_and_name() -> None:
    chance = random.Random(0)
    made = {ParaphraseSearch().change(CASE.question, CASE, chance) for _ in range(300)}
    assert any(text.startswith("In her early career, what book did") for text in made)
    assert any("Brennick, Odalys" in text for text in made)
    assert any("O. Brennick" in text for text in made)
    assert any("volume" in text for text in made)
    assert any(text.startswith("Quick one: ") for text in made)
    assert any("about glaziers" in text for text in made)


def test_openers_do_not_pile_up() -> None:
    chance, text = random.Random(0), CASE.question
    for _ in range(200):
        text = ParaphraseSearch().change(text, CASE, chance)
    assert sum(text.count(opener) for opener in ("Quick one:", "Tell me,", "For a quiz")) <= 1
