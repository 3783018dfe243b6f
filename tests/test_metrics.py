"""Prometheus metrics: names, labels and numbers; several processes as one."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from guard.events import Decided, Hit, Noticed, Refused, Serving, Unchecked
from guard.metrics import BUCKETS, Metrics, metrics_of
from tests.pages import ROOT

NOTICED = Noticed("t", "lexical", "enforce", "refuse", 1.0, False)
SHADOW = Noticed("u", "lexical", "shadow", "corrupt", 1.0, False)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, labels)


def test_decisions_are_counted_by_target_action_and_mode(registry: CollectorRegistry) -> None:
    metrics = Metrics(registry)
    metrics(Decided("r", "b", "refuse", (NOTICED, SHADOW), {"detect": 0.003}))
    metrics(Decided("r", "b", "allow", (SHADOW,)))
    metrics(Decided("r", "b", "allow"))
    metrics(Decided("r", "b", "failed", (NOTICED,), error="InterventionError"))
    metrics(Decided("r", "b", "failed", error="OverloadError"))

    def decisions(target: str, action: str, mode: str) -> float | None:
        return value(registry, "guard_decisions_total", target=target, action=action, mode=mode)

    assert decisions("t", "refuse", "enforce") == 1
    assert decisions("u", "corrupt", "shadow") == 2
    assert decisions("t", "failed", "enforce") == 1
    assert decisions("", "allow", "") == 1
    assert decisions("", "failed", "") == 1
    assert value(registry, "guard_requests_total", action="allow") == 2
    assert value(registry, "guard_errors_total", **{"class": "InterventionError"}) == 1
    assert value(registry, "guard_overload_total") == 1
    assert value(registry, "guard_stage_seconds_count", stage="detect") == 1
    assert value(registry, "guard_stage_seconds_bucket", stage="detect", le="0.005") == 1
    assert value(registry, "guard_stage_seconds_bucket", stage="detect", le="0.0025") == 0


def test_reloads_are_counted_by_what_became_of_them(registry: CollectorRegistry) -> None:
    metrics = Metrics(registry)
    metrics(Serving("b1", {"t": "enforce"}))
    assert value(registry, "guard_reloads_total", result="served") is None
    metrics(Refused("b2", "b1", "BundleError"))
    metrics(Serving("b3", {"t": "shadow"}, before="b1"))
    assert value(registry, "guard_reloads_total", result="served") == 1
    assert value(registry, "guard_reloads_total", result="refused") == 1
    assert value(registry, "guard_bundle_info", version="b1") == 0
    assert value(registry, "guard_bundle_info", version="b3") == 1
    assert value(registry, "guard_targets", mode="shadow") == 1


def test_hits_bundle_and_losses(registry: CollectorRegistry) -> None:
    metrics = Metrics(registry)
    metrics(Hit("r", "b", 0, "exact", "t", 5, "rollback"))
    metrics(Unchecked("r", "b", 0, "failed", "OutputError"))
    metrics(Serving("b1", {"t": "enforce", "u": "shadow", "v": "enforce"}))
    metrics(Serving("b2", {"t": "off"}, before="b1"))
    metrics.lost()
    metrics.stage("check", 0.1)
    hit = {"target": "t", "check": "exact", "action": "rollback"}
    assert value(registry, "guard_output_hits_total", **hit) == 1
    assert value(registry, "guard_errors_total", **{"class": "OutputError"}) == 1
    assert value(registry, "guard_bundle_info", version="b1") == 0
    assert value(registry, "guard_bundle_info", version="b2") == 1
    assert [value(registry, "guard_targets", mode=m) for m in ("enforce", "shadow", "off")] == [
        0, 0, 1,
    ]  # fmt: skip
    assert value(registry, "guard_audit_lost_total") == 1
    assert value(registry, "guard_stage_seconds_sum", stage="check") == 0.1


def test_buckets_reach_from_a_tenth_of_a_millisecond_to_a_second() -> None:
    assert BUCKETS[0] == 0.0001 and BUCKETS[-1] == 1.0 and list(BUCKETS) == sorted(BUCKETS)


def test_a_registry_has_them_once(registry: CollectorRegistry) -> None:
    assert metrics_of(registry) is metrics_of(registry)


_PROCESS = """
import sys
from guard.events import Decided, Serving
from guard.metrics import metrics_of
metrics = metrics_of()
metrics(Serving("b1", {"t": "enforce"}))
for _ in range(int(sys.argv[1])):
    metrics(Decided("r", "b1", "allow", seconds={"detect": 0.001}))
input()
"""
_SCRAPE = """
from prometheus_client import CollectorRegistry, generate_latest, multiprocess
registry = CollectorRegistry()
multiprocess.MultiProcessCollector(registry)
print(generate_latest(registry).decode())
"""


def test_several_processes_are_told_as_one(tmp_path: Path) -> None:
    """As vLLM's /metrics tells those of several API servers."""
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    command = [sys.executable, "-c", _PROCESS]
    pipes: Any = {"stdin": subprocess.PIPE, "env": environment}
    started = [subprocess.Popen([*command, str(n)], **pipes) for n in (2, 3)]
    try:
        for _ in range(600):
            done = subprocess.run(
                [sys.executable, "-c", _SCRAPE], env=environment, capture_output=True, text=True,
                check=True,
            )  # fmt: skip
            if 'guard_requests_total{action="allow"} 5.0' in done.stdout:
                break
    finally:
        for process in started:
            process.communicate(b"\n")
    assert 'guard_requests_total{action="allow"} 5.0' in done.stdout
    assert 'guard_stage_seconds_count{stage="detect"} 5.0' in done.stdout
    assert 'guard_bundle_info{version="b1"} 1.0' in done.stdout
    assert 'guard_targets{mode="enforce"} 1.0' in done.stdout
    assert "pid=" not in done.stdout


def _names(registry: CollectorRegistry) -> set[str]:
    text = generate_latest(registry).decode()
    return set(re.findall(r"^(guard_\w+)", text, re.M))


def test_the_dashboard_names_metrics_and_labels_that_there_are(
    registry: CollectorRegistry,
) -> None:
    metrics = Metrics(registry)
    metrics(Decided("r", "b", "failed", (NOTICED,), {"detect": 0.1}, "OverloadError"))
    metrics(Hit("r", "b", 0, "exact", "t", 5, "rollback"))
    metrics(Serving("b1", {"t": "enforce"}))
    metrics(Refused("b2", "b1", "BundleError"))
    board = json.loads((ROOT / "docs/deploy/grafana/guard.json").read_text("utf-8"))
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    expressions += [one["definition"] for one in board["templating"]["list"] if "definition" in one]
    assert len(expressions) >= len(panels) >= 8
    labels = {"target", "action", "mode", "check", "stage", "class", "version", "result", "le"}
    labels.add("instance")
    named = set[str]()
    for expression in expressions:
        used = set(re.findall(r"\bguard_\w+", expression))
        assert used and used <= _names(registry), expression
        for group in re.findall(r"\bby \(([^)]*)\)", expression):
            assert {label.strip() for label in group.split(",")} <= labels, expression
        for label in re.findall(r"[{,]\s*(\w+)\s*(?:=|!)", expression):
            assert label in labels, expression
        named |= {re.sub("_(bucket|sum|count)$", "", name) for name in used}
    known = {name for name in _names(registry) if not name.endswith("_created")}
    assert named == {re.sub("_(bucket|sum|count)$", "", name) for name in known}
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel["title"] and panel["gridPos"]["w"] for panel in panels)


def test_the_page_tells_of_every_metric(registry: CollectorRegistry) -> None:
    Metrics(registry)
    page = (ROOT / "docs/operations.md").read_text("utf-8")
    for family in registry.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert f"`{name}" in page, name
