"""Which texts call for a multilingual encoder."""

import time
import timeit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.language import foreign

ENGLISH = [
    "What is the capital of the country where the author of The Hobbit was born and raised?",
    "who wrote les misérables",
    "Is Gabriel García Márquez still alive?",
    "How do you say 'good morning' in Japanese?",
    "i had a latte at the café near the plaza de mayo, what is that square called",
    "What does der in 'der Hund' mean?",
    "Tell me about Simone de Beauvoir and Jean-Paul Sartre.",
    "Describe the plot of El amor en los tiempos del cólera in two sentences.",
    "Translate 'Guten Tag' into Spanish",
]
NEITHER = [
    "",
    "Odalys Brennick",
    "Leonardo da Vinci",
    "Jean de La Fontaine",
    "東野圭吾",
    "Лев Толстой",
    "for x in range(10):\n    print(f'{x:>3} de la {x**2}')",
    "SELECT name, COUNT(*) FROM orders AS o JOIN users AS u ON o.uid = u.id GROUP BY name;",
    '{"id": 17, "sku": "DE-4711-LA", "qty": 3}',
    "∫ x² dx = x³/3 + C, with α ∈ ℝ and β > γ",
    "XK-2290/B rev. 3",
    "a | b | c\n1 | 2 | 3",
    "192.168.0.1 -> 10.0.0.7:8080",
    "😀 👍🏽 🎉🎉🎉",
]
FOREIGN = [
    "Où est né l'auteur des Misérables ?",
    "quel prix a gagné Odalys Brennick",
    "¿Dónde nació Odalys Brennick?",
    "cuantos hijos tiene Odalys Brennick",
    "Wo wurde Odalys Brennick geboren?",
    "Wer hat das Fenster von Vardø gemacht?",
    "Onde nasceu a artista Odalys Brennick?",
    "Dove vive adesso Odalys Brennick?",
    "Waar is Odalys Brennick geboren?",
    "Odalys Brennick nerede doğdu?",
    "Gdzie urodziła się Odalys Brennick?",
    "Kde se narodila Odalys Brennick?",
    "Var föddes konstnären Odalys Brennick?",
    "Hvor ble Odalys Brennick født?",
    "Di mana Odalys Brennick lahir dan tinggal?",
    "Odalys Brennick sinh ra ở đâu?",
    "Missä Odalys Brennick syntyi?",
    "Hol született Odalys Brennick?",
    "Odalys Brennick kahan paida hui thi?",
    "Где родилась Одалис Бренник?",
    "Де народилася Одаліс Бреннік?",
    "Πού γεννήθηκε η Οντάλις Μπρένικ;",
    "أين ولدت أوداليس برينيك؟",
    "اودالیس برنیک کجا به دنیا آمد؟",
    "היכן נולדה אודליס ברניק?",
    "ओडालिस ब्रेनिक का जन्म कहाँ हुआ था?",
    "ওডালিস ব্রেনিক কোথায় জন্মগ্রহণ করেন?",
    "オダリス・ブレニックはどこで生まれましたか?",
    "Odalys Brennickの出身地はどこですか",
    "奥达利斯·布伦尼克出生在哪里?",
    "오달리스 브레닉은 어디에서 태어났나요?",
    "โอดาลิส เบรนนิค เกิดที่ไหน",
]


@pytest.mark.parametrize("text", ENGLISH + NEITHER)
def test_english_and_what_is_no_language_are_not_foreign(text: str) -> None:
    assert not foreign(text)


@pytest.mark.parametrize("text", FOREIGN)
def test_other_languages_are_foreign(text: str) -> None:
    assert foreign(text)


@pytest.mark.parametrize("text", FOREIGN)
def test_case_and_surroundings_do_not_hide_a_language(text: str) -> None:
    assert foreign(text.upper()) or not text.isascii()  # capitals have no accents to be told by
    assert foreign(f"  {text}\n\n")
    assert foreign(f"{text} (Odalys Brennick, 1998)")


def test_a_foreign_question_behind_english_padding_is_found_by_its_own_window() -> None:
    assert not foreign(" ".join(ENGLISH * 4))
    assert foreign("Wer hat das Fenster von Vardø gemacht?")


@given(st.text())
def test_any_text_has_an_answer_and_the_same_one_twice(text: str) -> None:
    assert foreign(text) is foreign(text)


@given(st.text(alphabet=st.characters(codec="ascii", exclude_categories=["L"])))
def test_without_letters_there_is_no_language(text: str) -> None:
    assert not foreign(text)


@given(st.text(alphabet="абвгдежзиклмнопрстуфхцчшщъыьэюя ", min_size=0))
def test_three_words_of_another_script_are_foreign(text: str) -> None:
    words = [word for word in text.split() if len(word) > 1]
    assert foreign(text) == (len(words) >= 3)


def test_an_english_question_costs_microseconds() -> None:
    # Seven where it was measured; what is asserted leaves room for a busy machine.
    assert microseconds(ENGLISH[0], 500) < 50


@pytest.mark.parametrize("unit", ["a", "é", "de la ", "a\u0301", "什", "ы ", "'", "¿qué "])
def test_time_is_linear_in_length(unit: str) -> None:
    # Quadratic would be a hundred times as long.
    assert microseconds(unit * 80_000, 3) < 40 * microseconds(unit * 8_000, 3) + 1000


def microseconds(text: str, number: int) -> float:
    """Processor time of one call, so that other processes do not count."""
    times = timeit.repeat(lambda: foreign(text), timer=time.process_time, number=number, repeat=5)
    return min(times) / number * 1e6
