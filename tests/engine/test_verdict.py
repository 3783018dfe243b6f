"""A seal holds for one prompt and one key; a token for one purpose."""

import json
from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.engine.verdict import Seals, prompt_digest

KEY, OTHER = b"k" * 32, b"o" * 32
PROMPT: dict[str, Any] = {
    "token_ids": [1, 2, 3],
    "embeddings": b"\1\2\3\4",
    "mask": [True, False, True],
    "salt": "salt",
    "adapter": ("adapter", "folder"),
    "plan": {"penalize": [{"a": 1}]},
}


def digest(**changes: Any) -> bytes:
    return prompt_digest(**{**PROMPT, **changes})


CHANGES: list[dict[str, Any]] = [
    {"token_ids": [1, 2, 4]},
    {"token_ids": [1, 2]},
    {"token_ids": [1, 2, 3, 0]},
    {"token_ids": [2, 1, 3]},
    {"token_ids": []},
    {"token_ids": None},
    {"embeddings": b"\1\2\3\5"},
    {"embeddings": b"\1\2\3"},
    {"embeddings": b""},
    {"embeddings": None},
    {"mask": [True, True, True]},
    {"mask": [True, False]},
    {"mask": []},
    {"mask": None},
    {"salt": "Salt"},
    {"salt": ""},
    {"salt": None},
    {"salt": "salt\0"},
    {"adapter": ("other", "folder")},
    {"adapter": ("adapter", "other")},
    {"adapter": ("", "")},
    {"adapter": None},
    {"salt": "saltadapter", "adapter": ("", "folder")},
    {"salt": "adapter", "adapter": ("salt", "folder")},
    {"plan": None},
    {"plan": {}},
    {"plan": {"penalize": [{"a": 2}]}},
    {"plan": {"offset": [{"a": 1}]}},
    {"token_ids": None, "embeddings": array("q", [1, 2, 3]).tobytes()},
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_seal_breaks_with_any_change_of_the_prompt(change: dict[str, Any]) -> None:
    seals = Seals(KEY)
    seal = seals.seal(digest(), "v1")
    assert seals.holds(seal, digest())
    assert not seals.holds(seal, digest(**change))


def test_all_changes_differ_from_each_other() -> None:
    seen = [digest(), *(digest(**change) for change in CHANGES)]
    assert len(set(seen)) == len(seen)


def test_what_is_the_same_prompt_has_the_same_digest() -> None:
    assert digest(token_ids=(1, 2, 3)) == digest()
    assert digest(token_ids=array("q", [1, 2, 3])) == digest()
    assert digest(mask=(1, 0, 1)) == digest()
    assert digest(embeddings=memoryview(b"\1\2\3\4")) == digest()


@given(
    st.lists(st.integers(0, 2**31 - 1), max_size=4),
    st.lists(st.integers(0, 2**31 - 1), max_size=4),
    st.text(max_size=4),
    st.text(max_size=4),
)
def test_two_prompts_share_a_digest_only_when_they_are_one(
    one: list[int], two: list[int], salt: str, other: str
) -> None:
    first, second = digest(token_ids=one, salt=salt), digest(token_ids=two, salt=other)
    assert (first == second) == ((one, salt) == (two, other))


def test_odd_salts_have_a_digest() -> None:
    assert digest(salt="\ud800") != digest(salt="\ud801")
    assert len(digest(adapter=("\udfff", "\udfff"))) == 32


def test_another_key_or_version_breaks_it() -> None:
    seal = Seals(KEY).seal(digest(), "v1")
    assert not Seals(OTHER).holds(seal, digest())
    version, _, mac = seal.rpartition(".")
    assert version == "v1"
    assert not Seals(KEY).holds(f"v2.{mac}", digest())
    assert not Seals(KEY).holds(mac, digest())
    assert not Seals(KEY).holds(f".{mac}", digest())
    assert Seals(KEY).seal(digest(), "v2") != seal


def test_every_changed_character_breaks_it() -> None:
    seals = Seals(KEY)
    seal = seals.seal(digest(), "v1")
    for at in range(len(seal)):
        assert not seals.holds(
            seal[:at] + ("x" if seal[at] != "x" else "y") + seal[at + 1 :], digest()
        )
        assert not seals.holds(seal[:at], digest())


NO_STRINGS = [None, True, 0, 1.5, b"v1.00", ["v1"], {"v1": 1}, object()]
NO_SEALS = ["", ".", "v1", "v1.", "v1." + "0" * 64, "\ud800.\ud800", "é.é", "v" * 100_000]


@pytest.mark.parametrize("value", [*NO_STRINGS, *NO_SEALS])
def test_what_is_no_seal_does_not_hold_and_raises_nothing(value: object) -> None:
    seals = Seals(KEY)
    assert seals.holds(value, digest()) is False
    assert seals.accepts(value, "probe") is False


def test_tokens_are_for_one_purpose() -> None:
    seals = Seals(KEY)
    purposes = ("probe", "gate", "open", "verdict", "attest")
    for purpose in purposes:
        token = seals.token(purpose)
        assert [seals.accepts(token, other) for other in purposes] == [
            other == purpose for other in purposes
        ]
        assert not Seals(OTHER).accepts(token, purpose)
        assert not seals.holds(token, digest())
    assert seals.token("probe") != seals.token("probe")


def test_a_seal_is_no_token() -> None:
    seals = Seals(KEY)
    seal = seals.seal(digest(), "v1")
    assert not any(seals.accepts(seal, purpose) for purpose in ("probe", "gate", "open", "verdict"))


def test_a_statement_answers_one_token() -> None:
    seals = Seals(KEY)
    token = seals.token("probe")
    statement = {"flagged": ["a"], "bundle": "v1", "process": 7, "unsealed_refused": True}
    text = seals.attest(token, statement)
    assert seals.attested(token, text) == statement
    assert seals.attested(seals.token("probe"), text) is None
    assert Seals(OTHER).attested(token, text) is None


def test_a_changed_statement_is_not_genuine() -> None:
    seals = Seals(KEY)
    token = seals.token("probe")
    value = json.loads(seals.attest(token, {"flagged": []}))
    for changed in (
        {**value, "statement": value["statement"].replace("[]", '["a"]')},
        {**value, "mac": "0" * 64},
        {**value, "mac": None},
        {**value, "statement": None},
        {**value, "statement": {"flagged": []}},
        {"statement": value["statement"]},
        {"mac": value["mac"]},
    ):
        assert seals.attested(token, json.dumps(changed)) is None


@pytest.mark.parametrize("text", ["", "hello", "[]", "null", "7", "{}", '"a"', "\ud800", "{" * 50])
def test_an_answer_that_is_no_statement(text: str) -> None:
    assert Seals(KEY).attested("token", text) is None


def test_a_signed_value_that_is_no_mapping() -> None:
    seals = Seals(KEY)
    assert seals.attested("t", seals.attest("t", ["a"])) is None  # type: ignore[arg-type]


def test_nothing_gives_the_key_away() -> None:
    seals = Seals(KEY)
    made = [seals.seal(digest(), "v1"), seals.token("probe"), seals.attest("t", {})]
    assert not any(KEY.decode() in text or KEY.hex() in text for text in made)
    assert "kkkk" not in repr(seals)
