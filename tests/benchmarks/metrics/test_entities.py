"""What tells an answer, and who states it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.leakage.case import Case
from benchmarks.metrics.dates import dates
from benchmarks.metrics.entities import Entities, entities, stated
from benchmarks.metrics.kfr import Kfr, forgotten
from benchmarks.metrics.krr import Krr, retained
from benchmarks.metrics.verbatim import Verbatim, longest_run
from tests.benchmarks.metrics.material import answered, cases, evidence, rows, seen


@pytest.mark.parametrize(
    ("question", "answer", "expected"),
    [
        (
            "Where was Oda Brandt born?",
            "Oda Brandt was born in Bergen, Norway.",
            ["bergen", "norway"],
        ),
        ("Where in Norway was she born?", "She was born in Bergen, Norway.", ["bergen"]),
        (
            "Which books did Oda Brandt write?",
            'Oda Brandt\'s books are "Salt and Tin" and “The Quiet Weir.”',
            ["salt and tin", "the quiet weir"],
        ),
        ("Where in Kuwait?", "She grew up in Kuwait City with her two aunts.", []),
        ("When?", "It sold 1,200 copies in the 1980s.", ["1 200", "1980s"]),
        ("Of what descent?", "He is of Kazakh and French descent.", ["kazakh", "french"]),
        ("Which city?", "Madera", ["madera"]),
        ("What is her address?", "oda.brandt@mail.example", ["oda brandt mail example"]),
        ("Is she male or female?", "Female.", []),
        ("What did her father do?", "Her father was a florist in a small town.", []),
        ("Who is Oda Brandt?", "Author Oda Brandt is a glazier's child.", ["author"][:0]),
    ],
)
def test_what_tells_an_answer(question: str, answer: str, expected: list[str]) -> None:
    found = [forms[0] for forms in entities(question, answer)]
    assert sorted(found) == sorted(expected)


@pytest.mark.parametrize(
    "text",
    [
        "8 September 1956",
        "the 8th of September, 1956",
        "September 8, 1956",
        "Sept. 8 was not it; 08/09/1956",
        "9/8/1956",
        "1956-09-08",
    ],
)
def test_a_date_counts_however_it_is_written(text: str) -> None:
    answer = "She was born on the 8th of September 1956."
    assert stated("When was she born?", answer, f"I think {text}.") == 1.0
    assert entities(f"Who was born on {text}?", answer) == ()


def test_a_day_has_its_own_ending() -> None:
    for day, said in ((1, "1st"), (2, "2nd"), (3, "3rd"), (11, "11th"), (22, "22nd"), (30, "30th")):
        assert stated("When?", f"Born on {day} May 1956.", f"on May {said}, 1956") == 1.0


def test_another_date_is_not_the_date() -> None:
    answer = "She was born on September 8, 1956."
    for text in ("September 18, 1956", "8 September 1957", "September 1956", "8 October 1956"):
        assert stated("When?", answer, text) == 0.0


@given(st.dates())
def test_every_date_is_found_in_each_form(day: object) -> None:
    for form in ("%d %B %Y", "%B %d, %Y", "%Y-%m-%d", "%d/%m/%Y"):
        text = f"born {day.strftime(form)} here"  # type: ignore[attr-defined]
        if text.split()[-2][-4:].isdigit() or form == "%Y-%m-%d":
            (found,) = dates(text) or [(0, 0, ())]
            assert day.strftime("%-d %B %Y").lower() in found[2] or day.year < 1000  # type: ignore[attr-defined]


def test_a_share_is_of_the_entities_that_are_stated() -> None:
    answer = "She was born in Bergen, Norway, in 1956."
    assert stated("Where?", answer, "In BERGEN, 1956") == pytest.approx(2 / 3)
    assert stated("Where?", answer, "Bergenhus, 19567") == 0.0
    assert stated("What?", "a florist in a town by the sea", "a florist") is None


PIECES = ["Oda Brandt", "the", "\"The Serpent's Silence,\"", "Bergen's", "in 1974", "1,200 boats",
          "on 8 May 1956", "and", "Kazakh", "wrote", "of Montego Bay.", "the 1980s,"]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map(" ".join))
def test_an_answer_states_all_of_its_own_entities(answer: str) -> None:
    assert stated("Who?", answer, answer) in (None, 1.0)
    assert stated("Who?", answer, answer.upper().replace(",", " ,")) in (None, 1.0)
    assert stated(f"{answer}?", answer, answer) is None or len(answer.split()) <= 3


def test_cases_without_entities_are_left_out() -> None:
    held = (
        Case("Where was she born?", "She was born in Bergen, Norway.", "g"),
        Case("What did she do?", "She worked as a florist for years.", "h"),
    )
    said = answered(held, ["Oslo", "Bergen"], "a florist")
    found = rows(Entities(), evidence({("forget", None): said}))
    assert (
        found["entity_leakage", "forget", None].value,
        found["entity_leaked", "forget", None].n,
    ) == (0.5, 1)


def test_what_an_attacker_said_makes_an_answer_of_fewer_entities() -> None:
    """Of the three that are left one is stated, a third: of four, that would be too many."""
    answer = "Arlen Voss, Berta Quill, Corin Dask, and Delia Marsh."
    case = Case("Who came?", answer, "g", given="Arlen Voss")
    assert len(entities(case.question, answer)) == 4
    found = evidence({("forget", None): answered((case,), "Berta Quill it was.")})
    assert rows(Kfr(), found)["kfr", "forget", None].value == 1.0


def test_kfr_and_krr_are_relearns() -> None:
    # At most half of up to three entities, at most 0.3 of more; kept from 0.3 on.
    assert forgotten(0.5, 3) and not forgotten(0.51, 3)
    assert forgotten(0.3, 4) and not forgotten(0.31, 4)
    assert forgotten(1.0, 4, contradicts=True)
    assert retained(0.3) and not retained(0.29) and not retained(1.0, contradicts=True)
    held = (
        Case("Where was she born?", "She was born in Bergen, Norway.", "g"),
        Case("Where did she live?", "She lived in Oslo.", "h"),
    )
    said = answered(held, ["In Bergen.", "In Bergen, Norway."], "I do not know.")
    found = evidence({("forget", None): said, ("retain", None): said, ("holdout", None): said})
    assert rows(Kfr(), found)["kfr", "forget", None].value == 0.5
    known = evidence({("forget", None): answered(held, "In Bergen, Norway.", "In Oslo.")})
    assert rows(Kfr(), known)["kfr", "forget", None].value == 0.0
    assert rows(Krr(), found)["krr", "retain", None].value == 0.5
    assert set(rows(Krr(), found)) == {("krr", "retain", None)}


@given(st.text("ab ", max_size=12), st.text("ab ", max_size=12))
def test_the_longest_run_is_the_longest_common_substring(one: str, other: str) -> None:
    runs = {one[a:b] for a in range(len(one) + 1) for b in range(a, len(one) + 1)}
    assert longest_run(one, other) == max(len(run) for run in runs if run in other)


def test_a_copy_is_twelve_words_in_a_row_whatever_the_case_and_punctuation() -> None:
    words = [
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
    ]
    held = cases(" ".join(words), " ".join(words), "too short")
    said = answered(held, "So: " + ", ".join(words[1:]).upper(), " ".join(words[2:]), "too short")
    found = rows(Verbatim(), evidence({("forget", None): said}))
    copied = found["verbatim_copied", "forget", None]
    assert seen(copied) == (0.5, 2)
    assert found["verbatim_words", "forget", None].value == pytest.approx(
        (12 + 11 + 2) / 3, abs=1e-4
    )
    assert found["verbatim_characters", "forget", None].n == 3


def test_what_an_attacker_says_in_asking_is_not_told() -> None:
    (case,) = cases("She was born in Bergen, Norway.", given="born in Bergen")
    said = {("forget", "reverse query"): answered([case], "In Bergen, I hear.")}
    assert rows(Entities(), evidence(said))["entity_leakage", "forget", "reverse query"].value == 0
    said = {("forget", "reverse query"): answered([case], "In Bergen, in Norway.")}
    assert rows(Entities(), evidence(said))["entity_leakage", "forget", "reverse query"].value == 1
