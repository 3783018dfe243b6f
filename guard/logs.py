"""The guard's own log lines as JSON, one object a line (``GUARD_LOG=json``)."""

import json
import logging
import os
import sys
from typing import Any

from guard.audit.record import instant
from guard.errors import EngineError
from guard.events import KINDS, Event, body

FORM = "GUARD_LOG"
NAME = "vllm.guard"  # below vLLM's own logger, so that its set-up holds


def told(event: Event) -> dict[str, Event]:
    """What a log line about an event is given as ``extra``."""
    return {"guard_event": event}


class JsonLines(logging.Formatter):
    """One JSON object a line: the message, and what it tells as fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line."""
        value: dict[str, Any] = {
            "time": instant(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        event: Event | None = getattr(record, "guard_event", None)
        if event is not None:
            value |= {"event": KINDS[type(event)], **body(event)}
        if record.exc_info and record.exc_info[0] is not None:
            value["exception"] = record.exc_info[0].__name__  # its message could quote a prompt
        return json.dumps(value)


def configure(*names: str) -> None:
    """Has log lines written as the environment says: ``text`` (as vLLM has it) or ``json``.

    Args:
        names: The loggers; that in vLLM without.

    Raises:
        EngineError: It says something else.
    """
    form = os.environ.get(FORM, "text")
    if form not in ("text", "json"):
        raise EngineError(f"{FORM}={form}: give text or json")
    for logger in map(logging.getLogger, names or (NAME,)):
        if form == "text" or any(isinstance(one.formatter, JsonLines) for one in logger.handlers):
            continue
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonLines())
        logger.addHandler(handler)
        logger.propagate = False
