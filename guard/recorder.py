"""Where events go: the metrics, the spans, and the audit where there is one."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from guard.audit.settings import audit_settings
from guard.audit.trail import Trail
from guard.decision import ALLOW
from guard.events import FAILED, KINDS, OPENED, Decided, Event, Hit, Serving, Unchecked, body
from guard.metrics import Metrics, metrics_of
from guard.spans import record_span

if TYPE_CHECKING:
    from guard.bundle import Bundle


class Recorder:
    """Takes each event once.

    Attributes:
        trail: What writes the audit, if anything.

    Args:
        metrics: Counts them.
        trail: Writes the audit.
    """

    def __init__(self, metrics: Metrics | None = None, trail: Trail | None = None) -> None:
        self.trail = trail
        self._metrics = metrics if metrics is not None else metrics_of()
        self._bundle: str | None = None

    @classmethod
    def from_environment(cls, role: str, folder: Path | None = None) -> "Recorder":
        """Makes one that writes the audit which the environment names.

        Args:
            role: What the process is: ``engine``, ``proxy``, …
            folder: Where the audit is, in place of what the environment names.

        Raises:
            AuditError: A variable is wrong, or the audit cannot be written.
        """
        metrics, settings = metrics_of(), audit_settings(folder)
        if settings is None:
            return cls(metrics)
        return cls(metrics, Trail(settings, {"role": role}, lost=metrics.lost))

    def __call__(self, event: Event, trace: Mapping[str, str] | None = None) -> None:
        """Takes an event.

        Args:
            event: The event.
            trace: Trace headers of the request that it is about.

        Raises:
            AuditError: What it tells must not happen, since it cannot be recorded.
        """
        if self.trail is not None:
            self._audited(event, self.trail)
        self._metrics(event)
        if isinstance(event, Decided):
            record_span(event, trace)

    def stage(self, stage: str, seconds: float) -> None:
        """Takes how long something took that is no stage of a decision."""
        self._metrics.stage(stage, seconds)

    def serving(self, bundle: "Bundle") -> None:
        """Tells that requests are decided by a bundle from now on."""
        targets = bundle.manifest.targets
        before = self._bundle if self._bundle != bundle.version else None
        self._bundle = bundle.version
        self(
            Serving(
                bundle.version,
                {target.id: target.mode for target in targets},
                {target.id: target.reason for target in targets if target.reason},
                before,
                tenants={
                    t.id: modes for t in targets if (modes := bundle.manifest.modes_by_tenant(t))
                },
            )
        )

    def close(self) -> None:
        """Writes what waits to be written."""
        if self.trail is not None:
            self.trail.close()

    def _audited(self, event: Event, trail: Trail) -> None:
        if isinstance(event, Decided):
            trail.tally(event.action)
            if event.action == ALLOW and not event.targets:
                return  # counted, not recorded one by one
        trail.put(event.time, KINDS[type(event)], body(event), must=_must(event))


def _must(event: Event) -> bool:
    """Whether what an event tells must not happen unrecorded.

    That is what the guard does to an answer, and an answer that goes out unguarded. A request that
    is refused because it could not be judged is refused in any case.
    """
    if isinstance(event, Decided):
        return event.action not in (ALLOW, FAILED)
    if isinstance(event, Unchecked):
        return event.action == OPENED
    return isinstance(event, Hit) and event.enforced
