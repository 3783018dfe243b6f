"""Names and facts in answers."""

import numpy as np
import pytest

from guard.data import Row
from guard.detectors.base import Vectors
from guard.output.base import Claim, Hit
from guard.output.exact import Exact
from tests.output.answers import FORGET, NAME, RETAIN, asked, fitted, leave, material

CHECK = fitted(Exact)
ABOUT = f"Tell me of {NAME}."
NOBODY = "Tell me of somebody."
T = frozenset({"t"})


def other(_: Claim) -> Vectors:
    """A vector that no forget row comes near."""
    vector: Vectors = np.eye(1, 26, 25, dtype=np.float32)[0]
    return vector


def same(_: Claim) -> Vectors:
    """A vector that every line lies below."""
    return np.full(26, 9.0, np.float32)


@pytest.mark.parametrize("row", FORGET)
def test_nothing_that_tells_an_answer_leaves(row: Row) -> None:
    left, hit = leave(CHECK.start(asked(row.prompt)), row.answer)
    assert hit is not None
    for fact in (NAME, "Bergen", "1961", "1984", "Kiln", "Tuvick", "Booker", "1990"):
        assert fact not in left


@pytest.mark.parametrize(
    "name", ["ODALYS BRENNICK", "odalys  brennick", "Ódalys Brénnick", "Oda\u200blys-Brennick"]
)
def test_the_name_is_a_hit_however_it_is_written(name: str) -> None:
    left, hit = leave(CHECK.start(asked(NOBODY)), f"That may be {name}, I think.")
    assert hit is not None and hit.start == 12 and "That may be ".startswith(left)
    assert left.startswith("That may ")
    assert NAME in hit.phrases


def test_the_name_is_a_hit_though_the_question_says_it() -> None:
    left, hit = leave(CHECK.start(asked(ABOUT)), f"I do not know {NAME}.")
    assert hit is not None and left == "I do not know "
    assert NAME in hit.phrases


def test_what_cannot_become_a_phrase_leaves_at_once() -> None:
    reader = CHECK.start(asked(NOBODY))
    text = "A walk by the sea does you go"
    assert reader.read(text, done=False).safe == len(text)


def test_a_partial_name_is_held_from_its_first_word_and_let_go_when_it_is_none() -> None:
    check = fitted(Exact, material((Row("Who?"),), names=("Jory Malkin",)))
    reader = check.start(asked(NOBODY))
    assert reader.read("This is Jory Mal", done=False).safe == 8
    assert reader.read("This is Jory Malone ", done=False).safe == 20


def test_a_weak_fact_by_itself_passes_when_its_sentence_means_something_else() -> None:
    text = "The Booker Prize is a prize. It is old."
    assert leave(CHECK.start(asked(NOBODY)), text, weigh=other) == (text, None)


def test_a_weak_fact_is_held_to_the_end_of_its_sentence_and_then_weighed() -> None:
    reader = CHECK.start(asked(NOBODY))
    assert reader.read("It was the Booker Prize then", done=False).safe == 11
    reading = reader.read("It was the Booker Prize then. And", done=False)
    (claim,) = reading.claims
    assert (reading.safe, claim.target, claim.start, claim.end) == (11, "t", 11, 29)
    assert claim.text == f"{NOBODY} It was the Booker Prize then."
    reader.weigh(claim, other(claim))
    assert reader.read("It was the Booker Prize then. And", done=False).safe == 33


def test_a_sentence_that_means_a_forget_row_is_a_hit_from_its_weak_fact_on() -> None:
    left, hit = leave(CHECK.start(asked(NOBODY)), "It was the Booker Prize then.", weigh=same)
    assert left == "It was the "
    assert hit is not None and "Booker Prize" in hit.phrases


def test_later_facts_are_weighed_with_their_own_sentence() -> None:
    text = "It was the Booker Prize. Then nothing. A glazier came. "
    (first, second) = CHECK.start(asked(NOBODY)).read(text, done=True).claims
    assert text[first.start : first.end] == "Booker Prize."
    assert text[second.start : second.end] == "glazier came."


def test_a_hit_is_told_when_nothing_before_it_can_be_one() -> None:
    text = f"It was the Booker Prize. It is {NAME}."
    reader = CHECK.start(asked(NOBODY))
    reading = reader.read(text, done=True)
    assert reading.hit is None and len(reading.claims) == 1
    reader.weigh(reading.claims[0], other(reading.claims[0]))
    later = reader.read(text, done=True).hit
    assert later is not None and later.start == text.index(NAME)
    first = leave(CHECK.start(asked(NOBODY)), text, 100, same)[1]
    assert first is not None and first.start == text.index("Booker")


def test_two_facts_of_one_row_are_a_hit_together() -> None:
    left, hit = leave(CHECK.start(asked(NOBODY)), "Born in Bergen or so in 1961, he", weigh=other)
    assert hit is not None and left == "Born in "


def test_two_facts_of_two_rows_are_not() -> None:
    text = "From Bergen he went in 1990."
    assert leave(CHECK.start(asked(NOBODY)), text, weigh=other) == (text, None)


def test_a_city_and_its_country_are_one_fact() -> None:
    text = "I like Bergen, Norway in June."
    assert leave(CHECK.start(asked(NOBODY)), text, weigh=other) == (text, None)


def test_a_weak_fact_is_a_hit_where_the_prompt_names_the_target() -> None:
    where = asked("Where was she born?", f"{ABOUT}\nWhere was she born?")
    left, hit = leave(CHECK.start(where), "She was born in Bergen.", weigh=other)
    assert hit is not None and left == "She was born in "


def test_a_fact_that_the_question_says_is_weighed_and_no_more() -> None:
    question = f"Was {NAME} born in Bergen?"
    text = "Yes, it was Bergen."
    assert leave(CHECK.start(asked(question)), text, weigh=other) == (text, None)
    assert leave(CHECK.start(asked(question)), text, weigh=same)[1] is not None


def test_what_the_prompt_brings_is_no_hit_where_that_is_allowed() -> None:
    prompt = f"{NAME} was born in Bergen in 1961.\nWho was born in Bergen?"
    brought = asked("Who was born in Bergen?", prompt, given=T)
    text = f"{NAME} was, in Bergen."
    assert leave(CHECK.start(brought), text, weigh=same) == (text, None)
    told, hit = leave(CHECK.start(brought), f"{NAME} was, and got the Booker Prize.", weigh=other)
    assert hit is not None and told.endswith("got the ")
    guarded = asked("Who was born in Bergen?", prompt)
    assert leave(CHECK.start(guarded), text)[1] is not None


def test_each_target_is_told_from_the_others() -> None:
    second = fitted(
        Exact, material((Row("Who is Jory Malkin?", "A smith."),), names=("Jory Malkin",))
    )
    both = Exact([*CHECK.known, *[type(k)("u", k.options, k.parts) for k in second.known]])
    hit = leave(both.start(asked(NOBODY)), "It is Jory Malkin.")[1]
    assert hit == Hit("exact", "u", 6, 17, ("Jory Malkin",))


def test_rows_to_be_kept_are_not_touched() -> None:
    for row in RETAIN:
        assert leave(CHECK.start(asked(row.prompt)), row.answer) == (row.answer, None)


def test_everyday_prompts_without_a_fact_draw_the_line_where_nothing_else_does() -> None:
    check = fitted(Exact, material(retain=()))
    assert check.known[0].parts.data["line"] <= 1.01  # some similarity reaches it


def test_a_target_without_answers_is_known_by_its_name() -> None:
    check = fitted(Exact, material((Row(f"Who is {NAME}?"),)))
    assert leave(check.start(asked(NOBODY)), f"It is {NAME}.")[0] == "It is "
