"""Spans of decisions: in the request's trace, with ids and numbers only."""

import sys

import pytest

pytest.importorskip("opentelemetry.sdk")

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from guard.events import Decided, Noticed
from guard.spans import record_span

NOTICED = Noticed("t", "lexical", "enforce", "refuse", 1.0, False)
EVENT = Decided("r", "b1", "refuse", (NOTICED,), {"wait": 0.001, "detect": 0.002}, time=100.0)


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    kept, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    return kept


def named(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def test_a_decision_is_a_span_with_one_for_each_stage(exporter: InMemorySpanExporter) -> None:
    record_span(EVENT)
    spans = named(exporter)
    assert set(spans) == {"guard.decide", "guard.wait", "guard.detect"}
    whole = spans["guard.decide"]
    assert dict(whole.attributes or {}) == {
        "guard.request": "r", "guard.bundle": "b1", "guard.action": "refuse",
        "guard.targets": ("t",), "guard.modes": ("enforce",),
    }  # fmt: skip
    assert (whole.start_time, whole.end_time) == (99_997_000_000, 100_000_000_000)
    assert spans["guard.wait"].end_time == spans["guard.detect"].start_time == 99_998_000_000
    assert spans["guard.detect"].end_time == whole.end_time
    assert {one.parent.span_id for one in spans.values() if one.parent} == {
        whole.context.span_id  # type: ignore[union-attr]
    }


def test_it_belongs_to_the_request_s_trace(exporter: InMemorySpanExporter) -> None:
    record_span(EVENT, {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"})
    whole = named(exporter)["guard.decide"]
    assert whole.parent is not None and f"{whole.parent.trace_id:032x}" == "ab" * 16


def test_an_error_is_told_by_its_class(exporter: InMemorySpanExporter) -> None:
    record_span(Decided("r", "b1", "failed", error="DetectionError"))
    whole = named(exporter)["guard.decide"]
    assert (whole.attributes or {})["guard.error"] == "DetectionError"
    assert whole.status.status_code is trace.StatusCode.ERROR


def test_without_a_provider_or_the_api_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    record_span(EVENT, {"traceparent": "nonsense"})
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    record_span(EVENT)
