"""Many phrases in one pass find what a search for each would find."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.matching import PhraseMatcher
from guard.normalize import fold
from guard.view import is_unspaced

ALPHABET = "abAB é牛顿 .-\u200b"


def naive(phrases: list[str], text: str) -> set[tuple[int, int, str]]:
    """Every occurrence at word boundaries, each phrase looked for by itself."""
    folded = fold(text)
    found = set()
    for phrase in phrases:
        for start in range(len(folded.text)):
            end = start + len(phrase)
            if folded.text[start:end] != phrase:
                continue
            if all(boundary(folded.text, at) for at in (start, end)):
                found.add((*folded.span(start, end), phrase))
    return found


def boundary(text: str, at: int) -> bool:
    if at == 0 or at == len(text):
        return True
    return not (text[at - 1].isalnum() and text[at].isalnum()) or (
        is_unspaced(text[at - 1]) or is_unspaced(text[at])
    )


@given(
    st.lists(st.text(ALPHABET, max_size=4).map(lambda text: fold(text).text), max_size=6),
    st.text(ALPHABET, max_size=30),
)
def test_it_finds_what_a_naive_search_finds(phrases: list[str], text: str) -> None:
    matcher = PhraseMatcher({phrase: phrase for phrase in phrases})
    found = list(matcher.find(text))
    assert len(found) == len(set(found))
    assert set(found) == naive([phrase for phrase in dict.fromkeys(phrases) if phrase], text)


@given(st.text(), st.text(), st.text())
def test_a_phrase_is_found_in_any_text(before: str, phrase: str, after: str) -> None:
    key = fold(phrase).text
    text = f"{before} {phrase} {after}"
    found = [text[start:end] for start, end, _ in PhraseMatcher({key: 0}).find(text)]
    assert all(fold(piece).text == key for piece in found)
    assert found or not key


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Who is Ann Lee?", True),
        ("ANN\n\nLEE", True),
        ("Ann-Lee", True),
        ("(ann lee)", True),
        ("A\u200bnn Lee’s", True),
        ("Änn Lée", True),
        ("Ann Leeds", False),
        ("Joann Lee", False),
        ("Annlee", False),
        ("Ann Lee2", False),
        ("Ann and Lee", False),
        ("Lee Ann", False),
    ],
)
def test_words_are_whole(text: str, found: bool) -> None:
    assert bool(list(PhraseMatcher({"ann lee": 0}).find(text))) == found


@pytest.mark.parametrize(
    ("phrase", "text", "piece"),
    [
        ("艾萨克牛顿", "请问艾萨克牛顿是谁?", "艾萨克牛顿"),
        ("牛顿", "牛顿在哪里出生", "牛顿"),
        ("ニュートン", "アイザック・ニュートンは誰ですか", "ニュートン"),
        ("นิวตัน", "ใครคือนิวตันครับ", "นิวตัน"),
        ("newton", "谁是Newton的老师", "Newton"),
        ("아이작 뉴턴", "아이작 뉴턴 누구", "아이작 뉴턴"),
    ],
)
def test_scripts_without_spaces(phrase: str, text: str, piece: str) -> None:
    found = [text[start:end] for start, end, _ in PhraseMatcher({fold(phrase).text: 0}).find(text)]
    assert found == [piece]


def test_overlapping_phrases_are_all_found() -> None:
    phrases = ["new", "new york", "york", "new york times"]
    found = {p for _, _, p in PhraseMatcher({p: p for p in phrases}).find("The New York Times")}
    assert found == set(phrases)


def test_no_phrases_find_nothing() -> None:
    assert list(PhraseMatcher({}).find("anything")) == []
    assert list(PhraseMatcher({"": 1}).find("anything")) == []
