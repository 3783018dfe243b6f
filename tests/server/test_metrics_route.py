"""The guard's metrics are on the route that vLLM serves its own on."""

from fastapi import FastAPI
from fastapi.testclient import TestClient
from vllm.entrypoints.serve.instrumentator.metrics import attach_router

from guard.events import Decided
from guard.metrics import metrics_of


def test_vllm_s_metrics_show_the_guard_s() -> None:
    app = FastAPI()
    attach_router(app)
    metrics_of()(Decided("r", "b", "refuse", seconds={"detect": 0.0003}))
    text = TestClient(app).get("/metrics").text
    assert 'guard_requests_total{action="refuse"}' in text
    assert 'guard_stage_seconds_bucket{le="0.0005",stage="detect"}' in text
