"""A decision is plain data with one JSON form."""

import dataclasses
import json

import pytest

from guard.decision import Decision, Finding, Score


def finding(target: str = "a", mode: str = "enforce", action: str = "refuse") -> Finding:
    return Finding(target, Score(0.75, 0.5, "lexical", (3, 9)), mode, action)


@pytest.mark.parametrize(("value", "flags"), [(0.5, True), (0.6, True), (0.4999999, False)])
def test_a_score_flags_when_it_reaches_the_threshold(value: float, flags: bool) -> None:
    assert Score(value, 0.5, "lexical").flags is flags


def test_margins_are_in_units_of_what_is_usual() -> None:
    """So that a detector whose scores lie close together is no less sure than another."""
    narrow = Score(0.52, 0.5, "similarity", scale=0.01)
    wide = Score(0.9, 0.5, "lexical", scale=0.8)
    assert narrow.margin == pytest.approx(2) and wide.margin == pytest.approx(0.5)
    assert Score(0.49, 0.5, "similarity", scale=0.01).margin == pytest.approx(-1)
    assert Score(0.75, 0.5, "lexical").margin == 0.25


@pytest.mark.parametrize("threshold", [float("inf"), 5e-324])
def test_a_stage_that_only_dismisses_never_flags(threshold: float) -> None:
    assert Score(1e9, threshold, "static").flags is (threshold < 1)
    assert not Score(0.0, threshold, "static").flags


def test_doubt_begins_half_way_between_everyday_prompts_and_the_threshold() -> None:
    values = {"far": -1.0, "near": -0.4, "at": 0.0, "above": 2.0}
    scores = [(name, Score(margin, 0.0, "similarity")) for name, margin in values.items()]
    assert Decision((), "v1", tuple(scores)).doubted == {"near", "at", "above"}
    assert Decision((), "v1").doubted == frozenset()


def test_nothing_found() -> None:
    decision = Decision((), "v1", (("a", Score(0.1, 0.5, "lexical")),))
    assert not decision.flagged and decision.enforced == ()
    assert decision.to_dict() == {
        "flagged": False,
        "targets": [],
        "action": "allow",
        "mode": None,
        "bundle": "v1",
    }


def test_shadow_is_flagged_and_allowed() -> None:
    decision = Decision((finding(mode="shadow"),), "v1")
    assert decision.flagged and decision.enforced == ()
    assert (decision.action, decision.mode) == ("allow", "shadow")


def test_the_first_enforced_finding_decides() -> None:
    found = (finding("a", action="refuse"), finding("b", action="corrupt"), finding("c", "shadow"))
    decision = Decision(found, "v1")
    assert decision.enforced == found[:2]
    assert (decision.action, decision.mode) == ("refuse", "enforce")


def test_the_json_form_is_the_documented_one() -> None:
    value = Decision((finding(),), "0123456789abcdef").to_dict()
    assert value == {
        "flagged": True,
        "targets": [{"id": "a", "score": 0.75, "threshold": 0.5, "detector": "lexical"}],
        "action": "refuse",
        "mode": "enforce",
        "bundle": "0123456789abcdef",
    }
    assert json.loads(json.dumps(value)) == value


def test_decisions_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        finding().mode = "off"  # type: ignore[misc]
