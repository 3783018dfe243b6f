"""The guard's own log lines as JSON."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from guard.errors import EngineError
from guard.events import Decided, Hit, Noticed
from guard.logs import JsonLines, configure, told


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    found = logging.getLogger("vllm.guard")
    handlers, propagate, level = list(found.handlers), found.propagate, found.level
    found.setLevel(logging.INFO)
    yield found
    found.handlers[:] = handlers
    found.propagate = propagate
    found.setLevel(level)


def written(logger: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    stream = io.StringIO()
    monkeypatch.setenv("GUARD_LOG", "json")
    monkeypatch.setattr("sys.stderr", stream)
    configure()
    return stream


def test_a_line_tells_its_event_as_fields(
    logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = written(logger, monkeypatch)
    noticed = Noticed("t", "lexical", "enforce", "refuse", 1.0, False)
    event = Decided("cmpl-1", "b1", "refuse", (noticed,), {"detect": 0.001})
    logger.info("guard: request %s: refuse", "cmpl-1", extra=told(event))
    logger.error("hit", extra=told(Hit("cmpl-1", "b1", 0, "exact", "t", 5, "rollback")))
    logger.warning("guard: live: two\nlines")
    first, second, third = map(json.loads, stream.getvalue().splitlines())
    assert first["event"] == "decided" and first["level"] == "info"
    assert first["message"] == "guard: request cmpl-1: refuse" and first["logger"] == "vllm.guard"
    assert (first["request"], first["action"], first["bundle"]) == ("cmpl-1", "refuse", "b1")
    assert first["targets"][0]["target"] == "t" and first["microseconds"] == {"detect": 1000}
    assert (second["event"], second["check"], second["position"]) == ("hit", "exact", 5)
    assert third["message"] == "guard: live: two\nlines" and "event" not in third
    assert first["time"].endswith("+00:00")


def test_an_exception_is_told_by_its_class(
    logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = written(logger, monkeypatch)
    try:
        raise ValueError("it quotes a prompt")
    except ValueError:
        logger.exception("guard: broken")
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["exception"] == "ValueError" and "quotes" not in line


def test_it_is_set_up_once(logger: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = written(logger, monkeypatch)
    configure()
    logger.info("once")
    assert len(stream.getvalue().splitlines()) == 1
    assert sum(isinstance(one.formatter, JsonLines) for one in logger.handlers) == 1


@pytest.mark.parametrize("form", [None, "text"])
def test_text_stays_as_it_is(
    logger: logging.Logger, monkeypatch: pytest.MonkeyPatch, form: str | None
) -> None:
    monkeypatch.delenv("GUARD_LOG", raising=False)
    if form is not None:
        monkeypatch.setenv("GUARD_LOG", form)
    before = list(logger.handlers), logger.propagate
    configure()
    assert (list(logger.handlers), logger.propagate) == before


def test_another_form_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUARD_LOG", "yaml")
    with pytest.raises(EngineError, match="GUARD_LOG=yaml: give text or json"):
        configure()
