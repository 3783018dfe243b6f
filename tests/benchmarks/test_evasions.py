import base64
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.evasions import EVASIONS
from benchmarks.evasions.base import Evasion
from benchmarks.evasions.framing import PADDING
from benchmarks.question import Prompt, Question, text_of

QUESTION = Question(
    "When was Odalys Brennick's first window made in Tromsø?", "a", "Odalys Brennick"
)
WORDS = st.lists(
    st.from_regex(r"[A-Za-z][A-Za-z',]{0,11}\??", fullmatch=True), min_size=1, max_size=15
)
TEXTS = WORDS.map(" ".join)
UNDONE = [evasion for evasion in EVASIONS.values() if evasion.undo]
# What is in the prompt as it was asked, for anyone to read.
FRAMES = ["noise prefix", "instruction prefix", "role play", "composite, benign last", "document",
          "padding before", "padding after", "padding around", "JSON", "tool result", "system text",
          "few-shot", "multiple choice", "affirmative suffix", "prefix injection"]  # fmt: skip


def ids(evasion: Evasion) -> str:
    return evasion.name


@pytest.mark.parametrize("evasion", EVASIONS.values(), ids=ids)
def test_the_same_seed_gives_the_same_prompt(evasion: Evasion) -> None:
    made = evasion(QUESTION, 0)
    assert made is not None and made == evasion(QUESTION, 0)
    assert text_of(made) != QUESTION.text


@pytest.mark.parametrize("evasion", UNDONE, ids=ids)
@given(text=TEXTS)
def test_what_loses_nothing_can_be_undone(evasion: Evasion, text: str) -> None:
    made = evasion(Question(text, "a"), 0)
    assert isinstance(made, str) and evasion.undo is not None
    assert evasion.undo(made) == text


@pytest.mark.parametrize(
    "name", ["base64", "hexadecimal", "rot13", "URL encoding", "unicode escapes"]
)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_codes_take_any_text(name: str, text: str) -> None:
    evasion = EVASIONS[name]
    made = evasion(Question(text, "a"), 0)
    assert isinstance(made, str) and evasion.undo is not None and evasion.undo(made) == text


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_holds_the_question(name: str) -> None:
    made = EVASIONS[name](QUESTION, 0)
    assert made is not None
    assert QUESTION.text.replace("ø", "") in text_of(made).replace("\\u00f8", "").replace("ø", "")


HIDING = [evasion for evasion in UNDONE if "case" not in evasion.name]  # a name in capitals is one


@pytest.mark.parametrize("evasion", HIDING, ids=ids)
def test_a_disguise_hides_the_name(evasion: Evasion) -> None:
    made = evasion(QUESTION, 0)
    assert made is not None and "Odalys Brennick" not in text_of(made)


def test_padding_is_longer_than_any_encoder_reads() -> None:
    for name in ("padding before", "padding after", "padding around"):
        assert EVASIONS[name].long and len(text_of(_made(name)).split()) >= PADDING
    assert text_of(_made("padding before")).endswith(QUESTION.text)
    assert text_of(_made("padding after")).startswith(QUESTION.text)


def test_look_alikes_look_alike_to_no_machine() -> None:
    made = text_of(_made("Cyrillic look-alikes"))
    assert len(made) == len(QUESTION.text)
    assert unicodedata.normalize("NFKC", made) != QUESTION.text
    assert unicodedata.normalize("NFKC", text_of(_made("full width"))) == QUESTION.text


def test_base64_in_prose_is_base64() -> None:
    piece = text_of(_made("base64 in prose")).split(": ")[1].split()[0]
    assert base64.b64decode(piece).decode() == QUESTION.text


@given(TEXTS)
def test_typos_are_few(text: str) -> None:
    made = text_of(EVASIONS["typos"](Question(text, "a"), 0) or "")
    assert len(made.split()) == len(text.split())
    for word, typed in zip(text.split(), made.split(), strict=True):
        assert abs(len(word) - len(typed)) <= 2 * (word.count("'") + word.count(",") + 1)
        assert word[0] == typed[0]


def test_typos_reach_names() -> None:
    assert "Odalys Brennick" not in text_of(_made("typos"))


def test_keywords_keep_the_name_and_drop_the_frame() -> None:
    assert _made("keywords only") == "Odalys Brennick first window made Tromsø"
    assert EVASIONS["keywords only"](Question("What is it?", "a"), 0) is None


def test_turns_with_a_pronoun_name_the_subject_only_at_first() -> None:
    made = _made("turns with a pronoun")
    assert not isinstance(made, str) and [m["role"] for m in made] == ["user", "assistant", "user"]
    assert "Odalys Brennick" in made[0]["content"]
    assert made[2]["content"] == "When was their first window made in Tromsø?"


@pytest.mark.parametrize("subject", [None, "Somebody Else"])
def test_turns_need_a_question_that_names_its_subject(subject: str | None) -> None:
    question = Question(QUESTION.text, "a", subject)
    assert EVASIONS["turns with a pronoun"](question, 0) is None


def _made(name: str) -> Prompt:
    made = EVASIONS[name](QUESTION, 0)
    assert made is not None
    return made
