"""OpenTelemetry spans of decisions, where its API is installed and a provider is set up.

vLLM sets one up with ``--otlp-traces-endpoint``. A span's attributes are ids, kinds and numbers.
"""

from collections.abc import Mapping
from typing import Any

from guard.events import Decided

_NANO = 1_000_000_000


def record_span(event: Decided, headers: Mapping[str, str] | None = None) -> None:
    """Records what deciding took, after it.

    Args:
        event: What was decided.
        headers: Trace headers of the request, whose trace it belongs to.
    """
    try:
        from opentelemetry import propagate, trace
    except ImportError:
        return
    tracer = trace.get_tracer("guard")
    end = round(event.time * _NANO)
    at = end - round(sum(event.seconds.values()) * _NANO)
    context = propagate.extract(dict(headers)) if headers else None
    span = tracer.start_span("guard.decide", context, start_time=at)
    if not span.is_recording():
        return
    attributes: dict[str, Any] = {
        "guard.request": event.request,
        "guard.bundle": event.bundle,
        "guard.action": event.action,
        "guard.targets": [noticed.target for noticed in event.targets],
        "guard.modes": [noticed.mode for noticed in event.targets],
    }
    if event.tenant is not None:
        attributes["guard.tenant"] = event.tenant
    if event.error is not None:
        attributes["guard.error"] = event.error
        span.set_status(trace.StatusCode.ERROR)
    span.set_attributes(attributes)
    within = trace.set_span_in_context(span, context)
    for stage, seconds in event.seconds.items():
        part = tracer.start_span(f"guard.{stage}", within, start_time=at)
        at += round(seconds * _NANO)
        part.end(at)
    span.end(end)
