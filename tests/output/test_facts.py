"""What tells a forget set, and how surely."""

from guard.data import Row
from guard.detectors.base import Examples
from guard.output.facts import facts_of
from tests.output.answers import BACKGROUND, FORGET, NAME, RETAIN, material

FACTS = facts_of(material().examples)


def test_names_tell_in_every_way_of_writing_them() -> None:
    assert {"odalys brennick", "brennick odalys", "o brennick", "brennick"} <= set(FACTS.names)


def test_a_longer_name_tells_without_its_first_word() -> None:
    examples = Examples(("Basil Mahfouz Al-Kuwaiti",), FORGET, (), ())
    assert "mahfouz al kuwaiti" in facts_of(examples).names


def test_a_whole_date_and_a_title_tell_by_themselves() -> None:
    assert FACTS.telling["march 4 1961"] == [0]
    assert FACTS.telling["the frosted kiln"] == [2]
    assert FACTS.telling["tuvick press"] == [2]


def test_what_many_rows_call_the_subject_is_its_name() -> None:
    assert "odalys" in FACTS.names
    assert "odalys brennick" in facts_of(Examples((), FORGET, RETAIN, BACKGROUND)).names


def test_a_year_a_city_and_a_prize_are_weak() -> None:
    assert FACTS.weak["1990"] == [3]
    assert FACTS.weak["bergen"] == [0]
    assert FACTS.weak["booker prize"] == [3]


def test_a_profession_is_a_hint() -> None:
    assert 1 in FACTS.hints["glazier"]


def test_what_a_row_to_be_kept_says_is_not_telling() -> None:
    said = Row("What is a good book?", 'Read "The Frosted Kiln", or ask Odalys Brennick.')
    facts = facts_of(Examples((NAME,), FORGET, (*RETAIN, said), BACKGROUND))
    assert "the frosted kiln" not in facts.telling
    assert "the frosted kiln" in facts.weak
    assert "odalys brennick" not in facts.names


def test_a_name_that_was_given_tells_though_everyday_prompts_say_it() -> None:
    said = Row("Who is Odalys Brennick, and what of Brennick?")
    facts = facts_of(Examples((NAME,), FORGET, RETAIN, (*BACKGROUND, said)))
    assert "odalys brennick" in facts.names and "brennick" not in facts.names


def test_what_many_rows_to_be_kept_say_tells_nothing() -> None:
    often = tuple(Row(f"Question {n}?", "It is in Bergen.") for n in range(60))
    facts = facts_of(Examples((NAME,), FORGET, often, ()))
    assert "bergen" not in {**facts.telling, **facts.weak, **facts.hints}


def test_rows_without_answers_have_names_alone() -> None:
    facts = facts_of(Examples((NAME,), (Row("Who is she?"),), RETAIN, ()))
    assert facts.names
    assert not facts.telling and not facts.weak and not facts.hints


def test_what_a_question_says_of_whom_it_means_is_a_sign_or_a_clue() -> None:
    row = Row("Who was born on May 7, 1962, in Oslo and in Latvia?", "That is Odalys Brennick.")
    facts = facts_of(Examples((NAME,), (*FORGET, row, Row("In Lund, 1931")), RETAIN, BACKGROUND))
    assert facts.signs["7th of may 1962"] == [4]
    assert facts.clues["latvia"] == facts.clues["1962"] == [4]
    assert facts.clues["oslo"] == [4], "a row to be kept says it once"
    assert "1931" not in {**facts.signs, **facts.clues}, "a row without an answer is no question"
    assert not {"may 7 1962", "1962"} & {*facts.telling, *facts.weak}


def test_what_many_rows_to_be_kept_say_is_no_clue() -> None:
    row = Row("Who was born in Bergen, Norway?", "That is Odalys Brennick.")
    often = tuple(Row(f"Question {n}?", "It is in Bergen.") for n in range(60))
    assert set(facts_of(Examples((NAME,), (*FORGET, row), often, ())).clues) == {"norway"}


def test_a_date_that_a_row_to_be_kept_says_is_no_sign() -> None:
    row = Row("Who was born on May 7, 1962?", "That is Odalys Brennick.")
    kept = Row("Who was born on May 7, 1962?", "Selma Orrin.")
    facts = facts_of(Examples((NAME,), (*FORGET, row), (*RETAIN, kept), BACKGROUND))
    assert "may 7 1962" not in facts.signs and "may 7 1962" in facts.clues


def test_a_long_passage_has_no_weak_facts() -> None:
    text = "the sea was wide and the glazier slept. " * 20
    passage = Row(f'In Bergen, "I cannot say uglification", {text} It was Skarvik Ashore.')
    facts = facts_of(Examples((), (passage,), RETAIN, BACKGROUND))
    assert not facts.weak and not facts.hints
    assert facts.telling.keys() == {"skarvik ashore", "skarvik"}


def test_what_a_long_passage_says_too_is_weak_for_the_other_rows_alone() -> None:
    passage = Row("Tell me.", "In Bergen " + "the sea was wide and cold then. " * 20)
    facts = facts_of(Examples((NAME,), (passage, *FORGET), RETAIN, BACKGROUND))
    assert facts.weak["bergen"] == [1]
