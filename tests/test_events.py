"""Events: what they tell of a decision, and that they hold no text."""

import json
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.decision import Decision, Finding, Score
from guard.events import (
    KINDS,
    Changed,
    Decided,
    Hit,
    Noticed,
    Refused,
    Serving,
    Unchecked,
    body,
    request_name,
)


def finding(value: float, target: str = "t", mode: str = "enforce") -> Finding:
    return Finding(target, Score(value, 0.5, "lexical", (1, 2), 0.1, sure=0.7), mode, "refuse")


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_a_score_is_told_in_steps(value: float) -> None:
    noticed = Noticed.of(finding(value))
    assert noticed.margin in [step / 4 for step in range(17)]
    assert str(value) not in json.dumps(body(Decided("r", "b", "refuse", (noticed,)))).split('"')


@pytest.mark.parametrize(
    ("value", "margin", "doubtful"),
    [(0.5, 0.0, True), (0.52, 0.0, True), (0.53, 0.25, True), (0.75, 2.5, False), (9, 4.0, False)],
)
def test_what_is_noticed(value: float, margin: float, doubtful: bool) -> None:
    assert Noticed.of(finding(value)) == Noticed(
        "t", "lexical", "enforce", "refuse", margin, doubtful
    )


def test_a_decision_as_json_holds_it() -> None:
    found = Decision((finding(0.9), finding(0.9, "u", "shadow")), "b1")
    event = Decided.of("chatcmpl-1", found, {"detect": 0.0012345})
    held = body(event)
    assert held == {
        "request": "chatcmpl-1",
        "bundle": "b1",
        "action": "refuse",
        "microseconds": {"detect": 1234},
        "targets": [
            {
                "target": target,
                "detector": "lexical",
                "mode": mode,
                "action": "refuse",
                "margin": 4.0,
                "doubtful": False,
            }
            for target, mode in (("t", "enforce"), ("u", "shadow"))
        ],
    }
    assert body(Decided.of("r", Decision((), "b1"), {})) == {
        "request": "r",
        "bundle": "b1",
        "action": "allow",
    }


def test_every_event_has_a_kind_and_a_form() -> None:
    events = (
        Decided("r", "b", "allow"),
        Hit("r", "b", 0, "exact", "t", 3, "rollback"),
        Unchecked("r", "b", 0, "failed", "OutputError"),
        Serving("b", {"t": "enforce"}),
        Refused("b", "a", "BundleError"),
        Changed("me", "compile", "added", "t", "", "enforce", None, None, "b"),
    )
    assert {type(event) for event in events} == set(KINDS)
    for event in events:
        assert json.loads(json.dumps(body(event))) == body(event)
        assert set(body(event)) <= {one.name for one in fields(event)} - {"time"}
    assert body(events[1])["position"] == 3 and body(events[1])["answer"] == 0


@given(st.text(max_size=300))
def test_a_request_s_name_is_a_plain_one(text: str) -> None:
    name = request_name(text)
    assert len(name) <= 128 and name.isascii() and name.isprintable() and " " not in name
    assert name == text or name.startswith("sha256:")


def test_what_a_client_writes_as_a_request_s_id_is_not_written_down() -> None:
    assert request_name("chatcmpl-9f2e:0.1") == "chatcmpl-9f2e:0.1"
    for text in (
        "Odalys Brennick",
        "odalys@example.org",
        "a\nguard: request b: allow",
        "",
        "x" * 129,
    ):
        name = request_name(text)
        assert name.startswith("sha256:") and name == request_name(text)
        assert not text or text not in name
