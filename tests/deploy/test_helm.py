"""The Helm chart: its values and templates agree, and Helm makes of them what they promise."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from guard import cli
from tests.deploy.files import CHART
from tests.server.app import arguments

VALUES = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
TEMPLATES = sorted((CHART / "templates").iterdir())

MODES: dict[str, dict[str, Any]] = {
    "proxy": {},
    "server": {
        "mode": "server",
        "server": {"model": "org/model", "modelsClaim": "models"},
        "audit": {"claim": "audit"},
        "serviceMonitor": {"enabled": True},
        "autoscaling": {"enabled": True},
        "extraArgs": ["--max-model-len", "4096"],
    },
    "guardrail": {
        "mode": "guardrail",
        "audit": {"claim": "audit"},
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "networkPolicy": {"from": []},
        "extraArgs": ["--instead", "refuse"],
        "env": {"GUARD_AUDIT_SYNC": "wait"},
    },
}


def leaves(value: Any, path: str = "") -> Iterator[str]:
    for key, one in value.items():
        if isinstance(one, dict) and one and key not in ("upstreamPodLabels", "requests", "limits"):
            yield from leaves(one, f"{path}.{key}")
        else:
            yield f"{path}.{key}"


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_templates_use_values_that_there_are(template: Any) -> None:
    text = template.read_text("utf-8")
    known = set(leaves(VALUES))
    for used in re.findall(r"\.Values((?:\.\w+)+)", text):
        assert any(one == used or one.startswith(f"{used}.") for one in known), used
    assert text.count("{{") == text.count("}}")
    opened = len(re.findall(r"\{\{-? (?:if|with|range|define)\b", text))
    assert opened == len(re.findall(r"\{\{-? end\b", text))


def test_every_value_is_used() -> None:
    text = "".join(path.read_text("utf-8") for path in TEMPLATES)
    for leaf in leaves(VALUES):
        parts = leaf.split(".")[1:]
        used = (".".join(parts[:n]) for n in range(1, len(parts) + 1))
        assert any(re.search(rf"\.Values\.{re.escape(one)}\b", text) for one in used), leaf


def render(values: dict[str, Any]) -> dict[str, list[Any]]:
    """What Helm makes of the chart: objects by kind."""
    if helm := shutil.which("helm"):
        done = subprocess.run(
            [helm, "template", "release", str(CHART), "--values", "-"],
            input=json.dumps(values), capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(done.stderr)
        texts = [done.stdout]
    else:
        chart = pytest.importorskip("helm_python.chart", reason="Helm is not installed")
        found = chart.Chart.load(str(CHART)).render(values, name="release")
        texts = [text for name, text in found.items() if name.endswith(".yaml")]
    objects: dict[str, list[Any]] = {}
    for text in texts:
        for one in yaml.safe_load_all(text):
            if one:
                objects.setdefault(one["kind"], []).append(one)
    return objects


@pytest.mark.parametrize("mode", MODES)
def test_a_deployment_runs_a_command_that_there_is(mode: str) -> None:
    (deployment,) = render(MODES[mode])["Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    args, rest = cli._parser().parse_known_args(container["args"])
    assert args.command == {"server": "serve"}.get(mode, mode)
    if args.command == "serve":
        assert arguments(*rest).max_model_len == 4096
    else:
        assert rest == []
        assert args.port == container["ports"][0]["containerPort"]
    assert all(type(one["value"]) is str for one in container["env"] if "value" in one)
    secrets = {one["name"] for one in container["env"] if "valueFrom" in one}
    assert (
        secrets
        == {
            "proxy": {"GUARD_UPSTREAM_KEY", "GUARD_PROXY_KEY"},
            "server": {"VLLM_API_KEY", "GUARD_AUDIT_KEY"},
            "guardrail": {"GUARD_GUARDRAIL_KEY", "GUARD_AUDIT_KEY"},
        }[mode]
    )


@pytest.mark.parametrize("mode", MODES)
def test_a_pod_has_what_it_needs_and_no_more(mode: str) -> None:
    found = render(MODES[mode])
    pod = found["Deployment"][0]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] and not pod["automountServiceAccountToken"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["httpGet"] == {"path": "/health", "port": "http"}
    mounts = {one["name"] for one in container["volumeMounts"]}
    assert mounts == {one["name"] for one in pod["volumes"]}
    writable = {one["mountPath"] for one in container["volumeMounts"] if not one.get("readOnly")}
    assert {"/tmp", "/var/cache/guard/ladders"} <= writable
    bundle = next(one for one in pod["volumes"] if one["name"] == "bundle")
    assert bundle["persistentVolumeClaim"] == {"claimName": "guard-bundle", "readOnly": True}
    assert pod["terminationGracePeriodSeconds"] > VALUES["drainSeconds"]
    selector = found["Deployment"][0]["spec"]["selector"]["matchLabels"]
    labels = found["Deployment"][0]["spec"]["template"]["metadata"]["labels"]
    assert selector.items() <= labels.items()
    assert found["Service"][0]["spec"]["selector"] == selector


def test_nobody_reaches_the_upstream_past_the_proxy() -> None:
    own, upstream = render({})["NetworkPolicy"]
    assert upstream["spec"]["podSelector"] == {"matchLabels": {"app": "vllm"}}
    (rule,) = upstream["spec"]["ingress"]
    assert rule["from"] == [{"podSelector": own["spec"]["podSelector"]}]
    assert rule["ports"] == [{"port": 8000}]


def test_with_nobody_listed_nobody_reaches_the_guard() -> None:
    (policy,) = render(MODES["guardrail"])["NetworkPolicy"]
    assert policy["spec"]["ingress"] == [] and policy["spec"]["policyTypes"] == ["Ingress"]


@pytest.mark.parametrize("mode", ["server", "guardrail"])
def test_metrics_are_found(mode: str) -> None:
    (monitor,) = render(MODES[mode])["ServiceMonitor"]
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["path"] == "/metrics" and endpoint["port"] == "http"
    assert ("authorization" in endpoint) == (mode == "guardrail")


def test_scaling_leaves_the_number_of_replicas_alone() -> None:
    found = render(MODES["server"])
    assert "replicas" not in found["Deployment"][0]["spec"]
    assert found["HorizontalPodAutoscaler"][0]["spec"]["minReplicas"] == 2
    assert render({})["Deployment"][0]["spec"]["replicas"] == 2


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"mode": "sidecar"}, "proxy, server or guardrail"),
        ({"mode": "server"}, "server.model"),
        ({"proxy": {"upstream": ""}}, "proxy.upstream"),
        ({"bundle": {"claim": ""}}, "bundle.claim"),
        ({"serviceMonitor": {"enabled": True}}, "serves no metrics"),
    ],
)
def test_values_that_cannot_be_are_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(Exception, match=says):
        render(values)
