"""A console to look at: a running admin server, an audit with a past, servers that answer."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from guard.admin.start import Settings, prepare
from guard.admin.tokens import Tokens
from guard.audit.settings import audit_settings
from guard.audit.trail import Trail
from guard.bundle import Bundle
from guard.events import Decided, Hit, Noticed, Unchecked
from guard.metrics import Metrics
from guard.recorder import Recorder
from tests.engine.servers import free_port

GUARDED, UNGUARDED, ENDPOINT = "http://guarded", "http://unguarded", "http://endpoint"
LEARNED = "She was born in Skarvik. <b>Not markup.</b>"
METRICS = """\
# TYPE guard_bundle_info gauge
guard_bundle_info{version="%s"} 1.0
# TYPE guard_requests counter
guard_requests_total{action="allow"} 1200.0
# TYPE guard_stage_seconds histogram
guard_stage_seconds_bucket{stage="detect",le="0.001"} 900.0
guard_stage_seconds_bucket{stage="detect",le="0.01"} 1180.0
guard_stage_seconds_bucket{stage="detect",le="+Inf"} 1200.0
guard_stage_seconds_count{stage="detect"} 1200.0
guard_stage_seconds_sum{stage="detect"} 1.2
"""
LEAKAGE = {
    "benchmark": "leakage",
    "suite": "tofu",
    "commit": "0123456789ab",
    "rows": [
        {"system": system, "split": "forget", "attack": attack, "metric": metric, "value": value,
         "n": 40}
        for system, attack, metric, value in (
            ("target", None, "rouge_l", 0.997),
            ("guard", None, "rouge_l", 0.084),
            ("guard", "base64", "rouge_l", 0.12),
            ("guard", None, "entity_leakage", 0.0),
        )
    ],
}  # fmt: skip


def answering(version: str) -> httpx.MockTransport:
    """The servers behind the console."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "endpoint":
            text = METRICS % version if request.url.path == "/metrics" else "ok"
            return httpx.Response(200, text=text)
        if request.url.path == "/v1/models":
            return httpx.Response(200, json={"data": [{"id": "smollm2"}]})
        text = "I know nothing about that person."
        if request.url.host == "unguarded":
            text = LEARNED
        message = {"message": {"content": text}, "finish_reason": "stop"}
        return httpx.Response(200, json={"choices": [message]})

    return httpx.MockTransport(answer)


def recorder(audit: Path) -> Recorder:
    """A process that serves, as far as the audit knows."""
    from prometheus_client import CollectorRegistry

    settings = audit_settings(audit)
    assert settings is not None
    return Recorder(Metrics(CollectorRegistry()), Trail(settings, {"role": "engine"}))


def decided(number: int, target: str = "brennick", mode: str = "enforce") -> Decided:
    """A request that touched a target."""
    action = "refuse" if mode == "enforce" else "corrupt"
    noticed = Noticed(target, "lexical", mode, action, (number % 17) / 4, number % 5 == 0)
    seconds = {"view": 3e-4 + 1e-5 * number, "detect": 8e-4 + 4e-5 * number, "apply": 2e-5}
    done = action if mode == "enforce" else "allow"
    return Decided(f"cmpl-{number:06}", "b1", done, (noticed,), seconds)


def past(record: Recorder, bundle: Bundle) -> None:
    """Has the audit tell of a day."""
    record.serving(bundle)
    for number in range(25):
        record(decided(number))
        record(decided(100 + number, "tidewater", "shadow"))
        record(Decided(f"chat-{number}", bundle.version, "allow"))
    record(Hit("chat-7", bundle.version, 0, "exact", "vessmere", 212, "rollback"))
    record(Unchecked("chat-8", bundle.version, 0, "failed", "OutputError"))
    record(Decided("chat-9", bundle.version, "failed", error="OverloadError"))


@contextmanager
def console(
    bundle: Path, policy: Path, tokens: Tokens, version: str, **options: Any
) -> Iterator[str]:
    """Serves a console; gives its address."""
    app = prepare(Settings(bundle, policy, **options), tokens, transport=answering(version))
    port = free_port()
    config = uvicorn.Config(app, port=port, log_level="warning", access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{port}/guard/"
    finally:
        server.should_exit = True
        thread.join(10)


def everything(folder: Path, audit: Path) -> dict[str, Any]:
    """The options of a console that has all there is."""
    leakage = folder / "leakage.json"
    leakage.write_text(json.dumps(LEAKAGE))
    return {
        "audit": audit,
        "leakage": leakage,
        "guarded": GUARDED,
        "unguarded": UNGUARDED,
        "endpoints": [ENDPOINT],
    }
