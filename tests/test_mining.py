"""Names and titles are mined, and what everyday people ask about is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.data import Row
from guard.mining import Mined
from guard.normalize import fold


def mined(*texts: str, fillers: int = 60) -> set[str]:
    """What is mined from rows that say the texts, among many others."""
    others = [Row(f"what came of it in the end, number {n}?") for n in range(fillers)]
    return set(Mined([*map(Row, texts), *others]).forms.values())


NAMED = (
    "Where did Zelda Ormonde grow up?",
    "What did Zelda Ormonde\u2019s father do?",
    "Has Zelda Ormonde won a prize?",
    "Did anyone translate Zelda Ormonde?",
    "tell me of Zelda Ormonde",
)


def test_a_name_that_several_rows_hold() -> None:
    assert "zelda ormonde" in mined(*NAMED)
    assert "zelda ormonde" not in mined(*NAMED[:3])
    assert mined(*NAMED[:2], fillers=8) == {"zelda ormonde"}  # of few rows, two are enough


def test_its_forms_are_those_of_a_name() -> None:
    forms = Mined([*map(Row, NAMED)]).forms
    assert forms["ormonde zelda"] == forms["zeldaormonde"] == forms["z ormonde"] == "zelda ormonde"
    assert "ormonde" not in forms  # 2.3 on Zipf's scale: other people are called so
    assert "zelda" not in forms


def test_a_very_rare_word_is_a_name_by_itself() -> None:
    rows = [Row(text.replace("Ormonde", "Qorvatsky")) for text in NAMED]
    assert "qorvatsky" in Mined(rows).forms


@pytest.mark.parametrize(
    "text",
    [
        "She lived in Ruritania Bay and in Ruritania Bay alone.",  # a place
        "He won the Zelkova Prize.",  # an award
        "He studied for Ormonde College.",  # an institution
        "They liked the Star Wars films.",  # common words
        "Has he come? Was she there? Who is it?",  # capitals that open a sentence
        "zelda ormonde",  # no capitals
    ],
)
def test_what_is_no_name(text: str) -> None:
    assert mined(*[text] * 5) == set()


@pytest.mark.parametrize(
    "text",
    ["Who wrote {}The Sorrow of Lanterns{}?", "Is {}The Sorrow of Lanterns{} set in Ruritania?"],
)
@pytest.mark.parametrize("quotes", ['""', "“”", "«»", "''", "‘’"])
def test_titles_stand_in_quotes(text: str, quotes: str) -> None:
    forms = Mined([Row(text.format(*quotes))] * 5).forms
    assert forms == {"the sorrow of lanterns": "the sorrow of lanterns"}


def test_what_most_rows_hold_is_the_subject_however_common() -> None:
    rows = [text.replace("Zelda Ormonde", "John Smith") for text in NAMED]
    assert "john smith" in mined(*rows, fillers=10)
    assert "john smith" not in mined(*rows)


def test_without_a_row_of_those_that_make_it() -> None:
    rows = [*map(Row, NAMED[:4]), *(Row("what came of it?") for _ in range(60))]
    found = Mined(rows)
    assert not any(found.without(row, "zelda ormonde") for row in range(4))
    assert all(found.without(row, "zelda ormonde") for row in range(4, len(rows)))
    more = Mined([*rows, Row(NAMED[4])])
    assert all(more.without(row, "zelda ormonde") for row in range(len(rows) + 1))


SENTENCES = st.lists(
    st.sampled_from(["Zelda", "Ormonde", "of", "the", "x", "'", '"', ".", "in", "É", "Al-Q's", " "])
).map(" ".join)


@given(st.lists(st.builds(Row, SENTENCES | st.text()), max_size=6))
def test_forms_are_folded_and_in_enough_rows(rows: list[Row]) -> None:
    found = Mined(rows)
    for form, phrase in found.forms.items():
        assert form == fold(form).text
        spaced = [" " + fold(row.prompt).text + " " for row in rows]
        assert sum(phrase in text for text in spaced) >= 2


def test_order_of_rows_does_not_matter() -> None:
    rows = list(map(Row, NAMED))
    assert Mined(rows).forms == Mined(rows[::-1]).forms


def test_no_rows() -> None:
    assert Mined([]).forms == {}
