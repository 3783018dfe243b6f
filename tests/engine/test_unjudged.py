"""What could not be judged is refused, or opened where the policy says so; it is told once."""

import logging
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from guard.decision import Decision, Finding, Score
from guard.engine.progress import Progress
from guard.engine.unjudged import Failure, Unjudged
from guard.errors import AuditError, DetectionError
from guard.events import Event
from guard.metrics import Metrics
from guard.recorder import Recorder

SECRET = "Odalys Brennick"
logger = logging.getLogger("guard.test")
both = pytest.mark.parametrize("kind", ["request", "answer"])


class Kept(Recorder):
    """Keeps what it is told, unless it is full."""

    def __init__(self) -> None:
        super().__init__(Metrics(CollectorRegistry()))
        self.events: list[Any] = []
        self.full = False

    def __call__(self, event: Event, trace: Any = None) -> None:
        if self.full:
            raise AuditError("the disk is full")
        self.events.append(event)


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def unjudged(kept: Kept) -> Unjudged:
    return Unjudged(kept, logger)


def found() -> Decision:
    score = Score(1.0, 0.5, "lexical")
    return Decision((Finding("brennick", score, "enforce", "refuse"),), "v", ())


def failure(error: Exception, *, opens: bool = False, decision: Decision | None = None) -> Failure:
    return Failure("r-1", "v", opens, Progress(decision), error)


@both
def test_it_is_refused_and_told_by_its_class(
    unjudged: Unjudged, kept: Kept, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    assert not getattr(unjudged, kind)(failure(ValueError(SECRET)))
    (event,) = kept.events
    assert (event.request, event.action, event.error) == ("r-1", "failed", "ValueError")
    assert "(ValueError): refused" in caplog.text and SECRET not in caplog.text
    assert not getattr(unjudged, kind)(failure(DetectionError("a detector hangs")))
    assert "(a detector hangs): refused" in caplog.text


def test_what_another_error_came_from_is_told(unjudged: Unjudged, kept: Kept) -> None:
    error = RuntimeError("vLLM's own")
    error.__cause__ = MemoryError(SECRET)
    unjudged.request(failure(error))
    assert kept.events[0].error == "MemoryError"


@both
def test_open_lets_it_go_on_and_says_so(
    unjudged: Unjudged, kept: Kept, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    assert getattr(unjudged, kind)(failure(ValueError(SECRET), opens=True))
    assert [event.action for event in kept.events] == ["opened"]
    assert "UNGUARDED" in caplog.text and "on_error: open" in caplog.text


@both
def test_what_was_found_is_never_opened(unjudged: Unjudged, kept: Kept, kind: str) -> None:
    assert not getattr(unjudged, kind)(failure(ValueError(), opens=True, decision=found()))
    assert [event.action for event in kept.events] == ["failed"]


@both
def test_nothing_is_opened_unrecorded(
    unjudged: Unjudged, kept: Kept, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    kept.full = True
    assert not getattr(unjudged, kind)(failure(ValueError(), opens=True))
    assert "the disk is full: refused" in caplog.text and "UNGUARDED" not in caplog.text


def test_one_event_for_one_request(unjudged: Unjudged, kept: Kept) -> None:
    """A judgement that was given up goes on in its thread."""
    late = failure(DetectionError("judging took longer than 1 s"), opens=True)
    late.progress.decided(lambda: kept.events.append("decided"))
    assert not unjudged.request(late), "nobody would know that it went on"
    assert kept.events == ["decided"]
    early = failure(DetectionError("judging took longer than 1 s"))
    unjudged.request(early)
    with pytest.raises(DetectionError, match="given up"):
        early.progress.decided(lambda: kept.events.append("decided"))
    assert len(kept.events) == 2 and kept.events[1].action == "failed"


def test_what_could_not_be_told_may_be_told_otherwise(unjudged: Unjudged, kept: Kept) -> None:
    def full() -> None:
        raise AuditError("the disk is full")

    lost = failure(AuditError("the disk is full"))
    with pytest.raises(AuditError):
        lost.progress.decided(full)
    unjudged.request(lost)
    assert [event.action for event in kept.events] == ["failed"]
