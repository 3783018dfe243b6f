"""What operators watch: Prometheus metrics of decisions, hits, stages, errors and the bundle.

They are in prometheus_client's registry, so vLLM's own ``/metrics`` shows them, and those of
several API server processes together (``PROMETHEUS_MULTIPROC_DIR``). Labels hold ids of targets,
kinds and versions: whoever may read the metrics reads the ids, so an id should be no name.
"""

from collections.abc import Mapping
from functools import cache
from typing import Literal

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from guard.errors import OverloadError
from guard.events import FAILED, OPENED, Decided, Event, Hit, Refused, Serving, Unchecked

BUCKETS = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
)  # fmt: skip
_LIVE: Literal["livemax"] = (
    "livemax"  # of several processes those that live; no label tells them apart
)


class Metrics:
    """The metrics of one registry; use `metrics_of`, since a registry takes each name once.

    Args:
        registry: Where they are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "guard_requests_total", "Requests by what was done.", ["action"], registry=registry
        )
        self._decisions = Counter(
            "guard_decisions_total",
            "Targets noticed in requests, by what is done, or would be (mode shadow).",
            ["target", "action", "mode"],
            registry=registry,
        )
        self._hits = Counter(
            "guard_output_hits_total",
            "Output checks that found what must not leave.",
            ["target", "check", "action"],
            registry=registry,
        )
        self._stages = Histogram(
            "guard_stage_seconds", "Time of each stage.", ["stage"], buckets=BUCKETS,
            registry=registry,
        )  # fmt: skip
        self._errors = Counter(
            "guard_errors_total", "What could not be judged, checked or recorded.", ["class"],
            registry=registry,
        )  # fmt: skip
        self._overload = Counter(
            "guard_overload_total", "Requests refused because too many waited.", registry=registry
        )
        self._lost = Counter(
            "guard_audit_lost_total", "Audit records that could not be kept.", registry=registry
        )
        self._reloads = Counter(
            "guard_reloads_total",
            "Bundles that a process was given while it served: served, or refused.",
            ["result"],
            registry=registry,
        )
        self._bundle = Gauge(
            "guard_bundle_info", "1 for the bundle that is served.", ["version"],
            registry=registry, multiprocess_mode=_LIVE,
        )  # fmt: skip
        self._targets = Gauge(
            "guard_targets", "Targets of the bundle, by mode.", ["mode"],
            registry=registry, multiprocess_mode=_LIVE,
        )  # fmt: skip

    def __call__(self, event: Event) -> None:
        """Takes an event."""
        if isinstance(event, Decided):
            self._decided(event)
        elif isinstance(event, Hit):
            self._hits.labels(event.target, event.check, event.action).inc()
        elif isinstance(event, Unchecked):
            self._errors.labels(event.error).inc()
        elif isinstance(event, Serving):
            self._serving(event.bundle, event.before, event.modes)
        elif isinstance(event, Refused):
            self._reloads.labels("refused").inc()

    def stage(self, stage: str, seconds: float) -> None:
        """Takes how long a stage took."""
        self._stages.labels(stage).observe(seconds)

    def lost(self) -> None:
        """Counts an audit record that could not be kept."""
        self._lost.inc()

    def _decided(self, event: Decided) -> None:
        self._requests.labels(event.action).inc()
        for noticed in event.targets:
            wrong = event.action in (FAILED, OPENED)
            action = event.action if wrong else noticed.action
            self._decisions.labels(noticed.target, action, noticed.mode).inc()
        if not event.targets:
            self._decisions.labels("", event.action, "").inc()
        for stage, seconds in event.seconds.items():
            self.stage(stage, seconds)
        if event.error is not None:
            self._errors.labels(event.error).inc()
            if event.error == OverloadError.__name__:
                self._overload.inc()

    def _serving(self, version: str, before: str | None, modes: Mapping[str, str]) -> None:
        if before is not None and before != version:
            self._reloads.labels("served").inc()
            self._bundle.labels(before).set(0)
        self._bundle.labels(version).set(1)
        for mode in ("enforce", "shadow", "off"):
            self._targets.labels(mode).set(sum(held == mode for held in modes.values()))


@cache
def metrics_of(registry: CollectorRegistry = REGISTRY) -> Metrics:
    """Returns the metrics of a registry; prometheus_client's own without."""
    return Metrics(registry)
