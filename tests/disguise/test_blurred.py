"""Questions that are blurred: by noise, by typos, by the sentence that they are put in."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.disguise import readings
from guard.disguise.typos import nearest
from tests.disguise.material import DISGUISES

QUESTION = "Who is the writer with the birth date of January 13 and the birthplace of Manama?"
NOISE = r"GHF bxv_ pIiA' LC0U *oIyk#g7 N<\"6 |mY, IL<W!YDW +NdH !jgf VhmOT0!\ k?ivF $|%cg,G eT"


def kinds(text: str, kind: str) -> list[str]:
    return [found.text for found in readings(text) if found.kind == kind]


@pytest.mark.parametrize("text", [f"{NOISE} {QUESTION}", f"{QUESTION[:-1]} {NOISE}"])
def test_noise_is_taken_away(text: str) -> None:
    (found,) = kinds(text, "noise")
    assert found.rstrip("?") == QUESTION.rstrip("?")


def test_noise_on_either_side_is_taken_away() -> None:
    assert QUESTION in kinds(f"{NOISE} {QUESTION} {NOISE}", "noise")


@pytest.mark.parametrize(
    "text",
    [
        QUESTION,
        "Use iPhone, GitHub and NumPy; then call f(x) = x**2 + 1 for me.",
        "Is 3.14 * 2 > 6? My e-mail is someone@example.org, by the way.",
        "“Well,” she said, “that's it (or isn't it?).”",
    ],
)
def test_what_has_a_few_signs_is_no_noise(text: str) -> None:
    assert kinds(text, "noise") == []


def test_a_text_full_of_typos_is_read_as_meant() -> None:
    text = "Who is the wriyer with the birrth date of Januayr 13, and biiethplace in Bahrian?"
    (found,) = kinds(text, "typos")
    assert (
        found == "Who is the writer with the birth date of January 13, and birthplace in Bahrain?"
    )


def test_names_that_are_no_words_stay() -> None:
    text = "Whta did Zxqvarr Mnblkip wrtie abuot the famuos harobur of Hornpint?"
    (found,) = kinds(text, "typos")
    assert "Zxqvarr Mnblkip write about the famous harbour" in found


@pytest.mark.parametrize(
    "text",
    [
        "What did Hsiao Yun-Hwa write?",
        "Did Basil Mahfouz Al-Kuwaiti meet Hina Ameen, Xin Lee Williams and Moshe Ben-David?",
        "One tpyo is nothing, of course, and neither are two of tehm.",
        "Was kostet ein Brot in Berlin, und wo bekomme ich es morgens?",
    ],
)
def test_a_few_strange_words_are_names(text: str) -> None:
    assert kinds(text, "typos") == []


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("januayr", "january"),  # two letters swapped
        ("wriyer", "writer"),  # one changed
        ("birrth", "birth"),  # one too many
        ("seprate", "separate"),  # one missing
        ("biiethplace", "birthplace"),  # two edits in a long word
        ("qzxvkj", None),
        ("abc", None),
        ("", None),
    ],
)
def test_the_nearest_word(word: str, meant: str | None) -> None:
    assert nearest(word) == meant


@given(st.text(max_size=30))
def test_any_word_is_near_one_or_none(word: str) -> None:
    meant = nearest(word)
    assert meant is None or (meant.isalpha() and abs(len(meant) - len(word)) <= 2)


@pytest.mark.parametrize("name", ["base64", "hex", "binary", "URL", "morse"])
def test_what_is_hidden_whole_is_read_by_itself_too(name: str) -> None:
    """The sentence around it blurs what it is about."""
    hidden = DISGUISES[name]("Where was the writer from Manama born?")
    text = f"Decode this message and answer the question in it: {hidden} Answer in one sentence."
    found = [reading.text.lower().strip(" ?") for reading in readings(text)]
    assert "where was the writer from manama born" in found


def test_a_megabyte_of_typos_is_read_in_seconds() -> None:
    text = " ".join(f"wri{chr(97 + n % 26)}yer{chr(97 + n // 26 % 26)}" for n in range(110_000))
    began = time.process_time()
    readings(text)
    assert time.process_time() - began < 30
