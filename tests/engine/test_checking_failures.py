"""What cannot be checked, or not be recorded, does not leave; and what is told of it."""

import json
import logging
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from vllm.sampling_params import SamplingParams

from guard.engine.checking import Answers
from guard.engine.lane import Ask
from guard.errors import AuditError, OutputError
from guard.events import Event, Hit, Unchecked, body
from guard.logs import JsonLines
from guard.output.base import Reader
from tests.engine.scripted import (
    BAD,
    BOTH,
    CUMULATIVE,
    DELTA,
    GOOD,
    KINDS,
    Counts,
    Failing,
    World,
    bans,
    made,
    rule,
    seen,
)
from tests.engine.test_checking import Last


@BOTH
@pytest.mark.parametrize("opened", [False, True])
def test_what_cannot_be_checked_does_not_leave(
    drive: Any, opened: bool, tokenizer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    world, counts = World(tokenizer, GOOD), Counts()
    params = SamplingParams(output_kind=DELTA)
    answers = made(world, params, lambda: [Failing()], counts=counts, opened=opened)
    found = drive(world, answers)
    assert seen(found, DELTA) == (GOOD if opened else "")
    ids = [token for output in found for token in output.outputs[0].token_ids]
    assert tokenizer.decode(ids) == (GOOD if opened else "")
    reason = "stop" if opened else "content_filter"
    assert found[-1].outputs[0].finish_reason == reason
    assert "must not be logged" not in caplog.text and "ValueError" in caplog.text
    assert set(counts) == {"output_opened" if opened else "output_failed"}


@BOTH
@pytest.mark.parametrize("kind", [DELTA, CUMULATIVE])
def test_what_has_left_stays_when_the_rest_cannot_be_checked(
    drive: Any, kind: Any, tokenizer: Any
) -> None:
    world, counts = World(tokenizer, GOOD), Counts()
    params = SamplingParams(output_kind=kind)
    found = drive(world, made(world, params, lambda: [Failing(after=12)], counts=counts))
    assert seen(found, kind) == "She kept a" and counts == {"output_failed": 1}
    assert found[-1].outputs[0].finish_reason == "content_filter"


@BOTH
@KINDS
def test_what_was_hit_does_not_leave_though_what_follows_fails(
    drive: Any, kind: Any, tokenizer: Any
) -> None:
    world, counts = World(tokenizer, BAD), Counts()

    def switched(target: str) -> Ask:
        raise ValueError("a text that must not be logged")

    params = SamplingParams(output_kind=kind)
    answers = made(
        world, params, bans(" lighthouse"), rule("switch"), counts, switched, opened=True
    )
    found = drive(world, answers)
    assert "She kept the".startswith(seen(found, kind)) and counts == {"output_failed": 1}
    assert found[-1].outputs[0].finish_reason == "content_filter"


@BOTH
def test_why_an_answer_could_not_be_checked_is_told_where_it_quotes_nothing(
    drive: Any, tokenizer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(tokenizer, GOOD)
    drive(
        world,
        made(
            world, SamplingParams(output_kind=DELTA), lambda: [Failing(OutputError("a known text"))]
        ),
    )
    assert "(a known text)" in caplog.text


@BOTH
@KINDS
def test_shadow_readers_read_the_whole_answer_and_harm_nothing(
    drive: Any, kind: Any, tokenizer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    params = SamplingParams(output_kind=kind)
    for shadow, counted in ((Last("shop"), {"output_shadow": 1}), (Failing(), {})):
        world, counts = World(tokenizer, GOOD), Counts()
        some: Callable[[], list[Reader]] = lambda one=shadow: [one]  # type: ignore[misc]  # noqa: E731
        found = drive(world, made(world, params, lambda: [], counts=counts, shadow=some))
        assert seen(found, kind) == GOOD and counts == counted
    assert "must not be logged" not in caplog.text and "shadow: ValueError" in caplog.text


def unrecorded(answers: Answers) -> list[Event]:
    """Has hits of these answers fail to be recorded; returns what was to be."""
    events: list[Event] = []

    def record(event: Event) -> None:
        events.append(event)
        if isinstance(event, Hit) or (isinstance(event, Unchecked) and event.action == "opened"):
            raise AuditError("the audit cannot be written")

    answers._checks = replace(answers._checks, record=record, bundle="b1")
    return events


@BOTH
def test_a_hit_that_cannot_be_recorded_ends_the_answer(tokenizer: Any, drive: Any) -> None:
    world, counts = World(tokenizer, BAD, GOOD), dict[str, int]()
    answers = made(world, SamplingParams(output_kind=DELTA), bans(" lighthouse"), counts=counts)
    events = unrecorded(answers)
    outputs = drive(world, answers)
    assert seen(outputs, DELTA) == "She kept the"
    assert outputs[-1].outputs[0].finish_reason == "content_filter"
    assert counts == {"output_failed": 1} and len(world.asked) == 1
    assert [type(event) for event in events] == [Hit, Unchecked]
    assert isinstance(events[1], Unchecked)
    assert (events[1].action, events[1].error) == ("failed", "AuditError")


@BOTH
def test_an_unguarded_answer_that_cannot_be_recorded_is_ended(tokenizer: Any, drive: Any) -> None:
    world, counts = World(tokenizer, GOOD), dict[str, int]()
    answers = made(
        world, SamplingParams(output_kind=DELTA), lambda: [Failing()], counts=counts, opened=True
    )
    events = unrecorded(answers)
    outputs = drive(world, answers)
    assert seen(outputs, DELTA) == "" and counts == {"output_failed": 1}
    assert [event.action for event in events if isinstance(event, Unchecked)] == [
        "opened", "failed",
    ]  # fmt: skip


@BOTH
def test_no_text_of_an_answer_is_in_what_is_told_of_it(
    tokenizer: Any, drive: Any, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(tokenizer, BAD, GOOD)
    answers = made(world, SamplingParams(output_kind=DELTA), bans(" lighthouse"))
    events: list[Event] = []
    answers._checks = replace(answers._checks, record=events.append, bundle="b1")
    with caplog.at_level(logging.INFO, "vllm.guard"):
        drive(world, answers)
    assert [type(event) for event in events] == [Hit]
    lines = [JsonLines().format(record) for record in caplog.records]
    assert json.loads(lines[0])["event"] == "hit" and len(lines) == 1
    for told in (*lines, json.dumps(body(events[0]))):
        assert not {"lighthouse", "Skarvik", "kept"} & set(re.findall(r"\w+", told))
