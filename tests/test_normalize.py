"""Folding: what is written in many ways becomes one text, and every character is traceable."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.normalize import fold, letters


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Isaac Newton", "isaac newton"),
        ("ISAAC   NEWTON", "isaac newton"),
        ("isaac\n\tnewton!", "isaac newton"),
        ("Isaac-Newton's", "isaac newton s"),
        ("Isaac_Newton", "isaac newton"),
        ("I.s.a.a.c", "i s a a c"),
        ("Is\u200baac New\u200dton", "isaac newton"),
        ("Is\u00adaac\ufeff Newton", "isaac newton"),
        ("I\u0301s\u0336a\u20ddac", "isaac"),
        ("Ísàäç Ñëwtön", "isaac newton"),
        ("I\u0301s\u00e0a\u0308c\u0327", "isaac"),
        ("Ｉｓａａｃ　Ｎｅｗｔｏｎ", "isaac newton"),
        ("𝐈𝐬𝐚𝐚𝐜 𝒩𝓮𝔀𝕥𝗼𝚗", "isaac newton"),
        ("ⒾⓈⒶⒶⒸ", "isaac"),
        ("Straße ﬁn", "strasse fin"),
        ("İstanbul", "istanbul"),
        ("ΣΊΣΥΦΟΣ σίσυφος", "σισυφοσ σισυφοσ"),
        ("x² ½ Ⅷ", "x2 1 2 viii"),
        ("牛顿 Newton", "牛顿 newton"),
        ("Ёлка", "елка"),
        ("", ""),
        (" \u200b!?\n", ""),
    ],
)
def test_folding(text: str, folded: str) -> None:
    assert fold(text).text == folded


def test_composed_and_decomposed_are_one() -> None:
    for text in ("Tromsø Vardø Sámi", "한국어", "がぎぐ ガギグ", "Ångström", "Việt Nam", "שָׁלוֹם"):
        forms = {fold(unicodedata.normalize(form, text)).text for form in ("NFC", "NFD", "NFKC")}
        assert len(forms) == 1, forms


def test_spans_lead_back() -> None:
    text = "“Is\u200baac  N\u0301EWTON”"
    folded = fold(text)
    start = folded.text.index("newton")
    low, high = folded.span(start, start + 6)
    assert text[low:high] == "N\u0301EWTON"
    assert text[slice(*folded.span(0, 5))] == "Is\u200baac"


def test_one_character_may_become_several() -> None:
    folded = fold("aßb")
    assert folded.text == "assb"
    assert [folded.span(n, n + 1) for n in range(4)] == [(0, 1), (1, 2), (1, 2), (2, 3)]


@given(st.text())
def test_properties(text: str) -> None:
    folded = fold(text)
    assert len(folded.origin) == len(folded.text)
    assert list(folded.origin) == sorted(folded.origin)
    assert all(0 <= index < len(text) for index in folded.origin)
    assert folded.text == folded.text.strip() and "  " not in folded.text
    assert all(char == " " or char.isalnum() for char in folded.text)
    assert fold(folded.text).text == folded.text  # folded once is folded


@given(st.text(), st.text())
def test_what_follows_a_space_is_folded_alike(one: str, two: str) -> None:
    """So a name folds the same wherever it stands."""
    whole = fold(f"{one} {two}").text
    assert whole == " ".join(part for part in (fold(one).text, fold(two).text) if part)


@given(st.text(), st.sampled_from("\u200b\u200c\u200d\u2060\u00ad\ufeff\u202e\u0301\u0336"))
def test_unseen_characters_change_nothing(text: str, unseen: str) -> None:
    assert fold(unseen.join(["", *text, ""])).text == fold(text).text


def test_letters() -> None:
    assert letters("a b-2 牛!") == 4
