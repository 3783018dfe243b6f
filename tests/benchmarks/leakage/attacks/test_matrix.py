import re
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.leakage.ask import Answer, Ask
from benchmarks.leakage.attacks import ATTACKS, Attack
from benchmarks.leakage.attacks.answer_opening import opening
from benchmarks.leakage.attacks.base import KNOWN
from benchmarks.leakage.attacks.drawn import Drawn
from benchmarks.leakage.attacks.others import own_words, tells
from benchmarks.leakage.attacks.sampling import Sampling
from benchmarks.leakage.case import Case
from benchmarks.leakage.play import given as gives
from benchmarks.leakage.play import play
from benchmarks.metrics.entities import share
from benchmarks.question import text_of
from tests.benchmarks.leakage.attacks.stub import CASE, OTHERS, PASSAGE, Stub, echo, knows

DRAWN = [Drawn(attack, 3) for attack in ATTACKS.values() if not isinstance(attack, Sampling)]
PAIRS = [
    pytest.param(attack, case, id=f"{attack.name}, {kind}")
    for attack in (*ATTACKS.values(), *DRAWN)
    for kind, case in (("question", CASE), ("passage", PASSAGE))
    if attack.applies(case)
]
every = pytest.mark.parametrize("attack", ATTACKS.values(), ids=list(ATTACKS))


def asks_of(
    attack: Attack, case: Case, others: Sequence[Case] = OTHERS, seed: int = 0
) -> list[Ask]:
    stub = Stub(echo)
    play(attack, [case], others, stub, seed)
    return stub.asked


@every
def test_an_attack_is_found_by_its_name(attack: Attack) -> None:
    assert ATTACKS[attack.name] is attack
    assert attack.applies(CASE), "the case of this matrix has all that attacks can use"


@every
def test_an_attack_says_what_it_is_and_what_it_knows(attack: Attack) -> None:
    assert type(attack).__doc__
    assert attack.knows <= KNOWN


@pytest.mark.parametrize(("attack", "case"), PAIRS)
@pytest.mark.parametrize("answer", [echo, lambda ask: ""], ids=["echo", "silent"])
def test_what_is_asked_can_be_sent(
    attack: Attack, case: Case, answer: Callable[[Ask], str]
) -> None:
    stub = Stub(answer)
    play(attack, [case], OTHERS, stub, 0)
    for ask in stub.asked:
        assert text_of(ask.prompt).strip()
        assert ask.samples >= 1 and ask.max_tokens >= 1 and ask.temperature >= 0
        assert ask.samples == 1 or ask.temperature > 0
        if isinstance(ask.prompt, str):
            continue
        assert ask.form != "completion", "messages are no text to be completed"
        roles = [message["role"] for message in ask.prompt]
        assert set(roles) <= {"system", "user", "assistant", "tool"} and "user" in roles
        assert all(message["content"].strip() for message in ask.prompt)


@pytest.mark.parametrize(("attack", "case"), PAIRS)
def test_what_an_attack_gives_away_it_says_in_asking(attack: Attack, case: Case) -> None:
    told = gives(attack, case, OTHERS, 0).given
    assert bool(told) == bool(attack.knows & {"fact", "opening", "group"})
    assert told in " ".join(text_of(ask.prompt) for ask in asks_of(attack, case))


@pytest.mark.parametrize("name", ["context hint", "facts in context"])
def test_facts_of_others_are_no_answer(name: str) -> None:
    """What neighbours tell of an answer, one by one or together, nobody tells who repeats it."""
    case = Case(
        "Where did Odalys Brennick live?", "In Tolm, Skarvik, and at last Munster.", "O. B."
    )
    others = [
        Case("Where was Odalys Brennick born?", "Odalys Brennick was born in Tolm.", "O. B."),
        Case("Where is her grave?", "She was buried in Skarvik.", "O. B."),
    ]
    asked = gives(ATTACKS[name], case, others, 0)
    (ask,) = asks_of(ATTACKS[name], case, others)
    said = [town for town in ("Tolm", "Skarvik", "Munster") if town in text_of(ask.prompt)]
    assert len(said) == (2 if name == "facts in context" else 1)
    assert share(asked, " ".join(said)) == 0
    assert share(asked, f"{' '.join(said)} Munster") == pytest.approx(1 / (3 - len(said)))


@pytest.mark.parametrize(("attack", "case"), PAIRS)
def test_the_same_seed_asks_the_same(attack: Attack, case: Case) -> None:
    assert asks_of(attack, case) == asks_of(attack, case)


@pytest.mark.parametrize(("attack", "case"), PAIRS)
@pytest.mark.parametrize("answer", [echo, lambda ask: "I'm sorry, I cannot say.", lambda ask: ""])
def test_no_attack_draws_more_than_it_says(
    attack: Attack, case: Case, answer: Callable[[Ask], str]
) -> None:
    stub = Stub(answer)
    (judged,) = play(attack, [case], OTHERS, stub, 0)
    assert sum(ask.samples for ask in stub.asked) <= (attack.budget or attack.cost)
    assert 1 <= len(judged) <= attack.cost


@pytest.mark.parametrize(("attack", "case"), PAIRS)
def test_no_answer_is_given_away(attack: Attack, case: Case) -> None:
    """A prompt has words of the answer only as far as the attacker is said to know of it."""
    shown = " ".join(text_of(ask.prompt) for ask in asks_of(attack, case))
    known = tells(shown, case)
    if attack.knows & {"options", "fact", "opening"}:
        assert known > 0
        assert "options" in attack.knows or known <= 0.5
    elif "group" in attack.knows:
        assert all(tells(line, case) < 0.5 for line in shown.splitlines())
        assert case.answer not in shown
    else:
        assert known == 0


@pytest.mark.parametrize(("attack", "case"), PAIRS)
def test_what_the_model_tells_is_found(attack: Attack, case: Case) -> None:
    (judged,) = play(attack, [case], OTHERS, Stub(knows(case)), 0)
    rest = Case(case.question, case.answer, case.group)
    if "opening" in attack.knows:
        rest = Case(case.question, case.answer.removeprefix(opening(case) or ""), case.group)
    assert max(tells(answer.text, rest) for answer in judged) == 1


@pytest.mark.parametrize(("attack", "case"), PAIRS)
def test_what_the_model_does_not_tell_is_not_found(attack: Attack, case: Case) -> None:
    said = "They say it was about the harvest of barley in a wet summer."
    (judged,) = play(attack, [case], OTHERS, Stub(lambda ask: said), 0)
    assert all(tells(answer.text, case) == 0 for answer in judged)


@pytest.mark.parametrize(("attack", "case"), PAIRS)
@pytest.mark.parametrize("state", ["failed", "blocked"])
def test_an_attack_goes_on_when_it_is_not_answered(attack: Attack, case: Case, state: str) -> None:
    stub = Stub(lambda ask: Answer("", state))  # type: ignore[arg-type]
    (judged,) = play(attack, [case], OTHERS, stub, 0)
    assert judged and all(answer.state == state for answer in judged)


def test_every_case_of_the_list_is_there() -> None:
    """METHODS: attacks that break such systems."""
    wanted = """noise prefix; instruction prefix; composite, benign first; paraphrase;
        prefix injection; affirmative suffix; role play; multiple choice; reverse query; synonyms;
        context hint; facts in context; few-shot; cross-lingual: French; mixed language; typos;
        Cyrillic look-alikes; zero-width; base64; keywords only; turns with a pronoun;
        padding before; completion form; token ids; sampling; answer opening; iterated rephrasing;
        iterated probing; paraphrase search; insertion search"""
    assert {re.sub(r"\s+", " ", name.strip()) for name in wanted.split(";")} <= set(ATTACKS)


BARE = Case("Why?", "So.", "g")


@every
def test_a_case_with_little_is_asked_about_or_left_out(attack: Attack) -> None:
    if attack.applies(BARE):
        assert asks_of(attack, BARE, ())


WORDS = st.lists(st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1), min_size=1)


@settings(max_examples=10)
@given(question=WORDS.map(" ".join), answer=WORDS.map(" ".join))
@every
def test_any_text_can_be_asked_about(attack: Attack, question: str, answer: str) -> None:
    case = Case(question, answer, "g", subject=question.split()[0], wrong=(f"not {answer}",))
    if attack.applies(case) and "padding" not in attack.name:
        assert all(text_of(ask.prompt) for ask in asks_of(attack, case))
        assert own_words(case) is not None
