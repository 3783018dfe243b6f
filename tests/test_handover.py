"""Verdicts that a proxy signs for the engine behind it."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.errors import EngineError
from guard.handover import KEY, Handover, handover

SIGNER = Handover(b"k" * 32)
BODY = b'{"messages": []}'


@given(st.frozensets(st.text(min_size=1, max_size=20), max_size=5), st.binary(max_size=100))
def test_what_was_signed_is_read(targets: frozenset[str], body: bytes) -> None:
    header = SIGNER.sign(targets, body)
    assert header.isascii() and "\n" not in header
    assert SIGNER.read(header, body) == targets


@given(st.binary(max_size=100).filter(lambda body: body != BODY))
def test_it_is_for_one_body(body: bytes) -> None:
    assert SIGNER.read(SIGNER.sign({"a"}, BODY), body) is None


@given(st.text(max_size=200))
def test_what_nobody_signed_is_nothing(text: str) -> None:
    assert SIGNER.read(text, BODY) is None


def test_it_cannot_be_changed() -> None:
    header = SIGNER.sign({"alice", "bob"}, BODY)
    for at in range(len(header)):
        other = "A" if header[at] != "A" else "B"
        assert SIGNER.read(header[:at] + other + header[at + 1 :], BODY) is None


def test_another_key_signs_otherwise() -> None:
    assert Handover(b"o" * 32).read(SIGNER.sign({"a"}, BODY), BODY) is None


@pytest.mark.parametrize(("seconds", "holds"), [(50, True), (70, False), (-50, True), (-70, False)])
def test_it_is_for_a_short_time(
    seconds: float, holds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    header, now = SIGNER.sign({"a"}, BODY), time.time()
    monkeypatch.setattr("guard.handover.time.time", lambda: now + seconds)
    assert (SIGNER.read(header, BODY) is not None) is holds


def test_a_header_has_an_end() -> None:
    assert SIGNER.read(SIGNER.sign({"a" * 5000}, BODY), BODY) is None


def test_receipts() -> None:
    header = SIGNER.sign({"a"}, BODY)
    receipt = SIGNER.receipt(header)
    assert SIGNER.heeded(header, receipt)
    assert not SIGNER.heeded(header, None) and not SIGNER.heeded(header, "")
    assert not SIGNER.heeded(SIGNER.sign({"b"}, BODY), receipt)
    assert not Handover(b"o" * 32).heeded(header, receipt)
    assert not SIGNER.heeded(header, header.rpartition(".")[2]), "a verdict is no receipt of itself"


def test_the_key_is_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY, raising=False)
    assert handover(EngineError) is None
    monkeypatch.setenv(KEY, "short")
    with pytest.raises(EngineError, match=f"{KEY} is set but has less than 32 characters"):
        handover(EngineError)
    monkeypatch.setenv(KEY, "k" * 32)
    found = handover(EngineError)
    assert found is not None and found.read(SIGNER.sign({"a"}, BODY), BODY) == {"a"}
