"""`guard proxy` as a process: a server that is drained before it ends, logs and metrics."""

import asyncio
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn
from prometheus_client import start_http_server

from guard import logs
from guard.errors import EngineError
from guard.guard import Guard
from guard.proxy.app import App
from guard.proxy.load import Load
from guard.proxy.renewing import reloader
from guard.proxy.start import Report, Settings, prepare
from guard.recorder import Recorder
from guard.reload import reload_seconds

_LOGGERS = ("guard.proxy", logs.NAME)  # the audit's lines are in the latter


@dataclass(frozen=True)
class Place:
    """Where the process serves, and what it leaves behind.

    Attributes:
        host: The address.
        port: The port.
        metrics_host: The address of the metrics.
        metrics_port: Their port; None for none.
        drain: Seconds that requests which have begun are given when it is to end.
        audit: Where decisions are recorded; as the environment says without.
    """

    host: str = "127.0.0.1"
    port: int = 8100
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = None
    drain: float = 30.0
    audit: Path | None = None


def serve(settings: Settings, place: Place, report: Report) -> int:
    """Serves until it is ended; returns the exit status.

    Raises:
        GuardError: It cannot start guarded.
    """
    logging.basicConfig(format="%(levelname)s %(message)s")
    logging.getLogger("guard.proxy").setLevel(logging.INFO)
    logs.configure(*_LOGGERS)
    seconds = reload_seconds()
    guard = Guard.load(settings.bundle)  # a bad one leaves no audit behind
    recorder = Recorder.from_environment("proxy", place.audit)
    try:
        if recorder.trail is not None:
            report(f"decisions are recorded in {recorder.trail.settings.folder}")
        return asyncio.run(_serve(settings, place, report, guard, recorder, seconds))
    finally:
        recorder.close()


async def _serve(
    settings: Settings, place: Place, report: Report, guard: Guard, recorder: Recorder,
    seconds: float | None,
) -> int:  # fmt: skip
    pipeline = await prepare(settings, report, guard=guard, recorder=recorder)
    if seconds is not None:
        reloader(pipeline, settings.bundle, recorder, seconds).start()
    if place.metrics_port is not None:
        _measure(place.metrics_host, place.metrics_port)
        report(f"metrics: http://{place.metrics_host}:{place.metrics_port}/metrics")
    version = pipeline.edition.guard.version
    report(f"ready: http://{place.host}:{place.port} guards {settings.upstream} by {version}")
    config = uvicorn.Config(
        App(pipeline),
        host=place.host,
        port=place.port,
        log_level="warning",
        access_log=False,  # paths and addresses are the operator's to log
        server_header=False,
        timeout_graceful_shutdown=1,  # what may take longer has been waited for
    )
    server = _Drained(config, pipeline.load, place.drain)
    await server.serve()
    return 0 if server.started else 1


def _measure(host: str, port: int) -> None:
    try:
        start_http_server(port, host)
    except OSError as error:
        raise EngineError(f"--metrics-port {port}: {error.strerror}") from None


class _Drained(uvicorn.Server):
    """Ends when what has begun is finished, or has had its time; a second signal ends it at once.

    It listens until then: whoever still comes is told to come again.
    """

    def __init__(self, config: uvicorn.Config, load: Load, patience: float) -> None:
        super().__init__(config)
        self._load, self._patience = load, patience
        self._until: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._until is not None:
            self.should_exit = self.force_exit = True
            return
        self._load.draining = True
        self._until = time.monotonic() + self._patience

    async def on_tick(self, counter: int) -> bool:
        over = self._until is not None and time.monotonic() >= self._until
        if over or (self._until is not None and not self._load.active):
            self.should_exit = True
        return await super().on_tick(counter)
