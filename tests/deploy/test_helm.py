"""The Helm chart: its values and templates agree, and Helm makes of them what they promise."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from guard import cli
from tests.deploy.files import CHART
from tests.server.app import arguments

VALUES = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
TEMPLATES = sorted((CHART / "templates").iterdir())

MODES: dict[str, dict[str, Any]] = {
    "proxy": {
        "audit": {"claim": "audit"},
        "serviceMonitor": {"enabled": True},
        "networkPolicy": {"metricsFrom": [{"podSelector": {"matchLabels": {"app": "prometheus"}}}]},
    },
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
ADMIN: dict[str, Any] = {"admin": {"enabled": True, "policyClaim": "policy"}}
NAME, AS_ADMIN = "release-guard", "release-guard-admin"


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


def named(objects: dict[str, list[Any]], kind: str, name: str) -> Any:
    (found,) = [one for one in objects[kind] if one["metadata"]["name"] == name]
    return found


def container_of(objects: dict[str, list[Any]], name: str) -> Any:
    (container,) = named(objects, "Deployment", name)["spec"]["template"]["spec"]["containers"]
    return container


def read(container: Any) -> tuple[Any, list[str]]:
    """The arguments of a container's command, and those that it does not know."""
    return cli._parser().parse_known_args(container["args"])


def secrets(container: Any) -> dict[str, str]:
    """Which secret each variable is from."""
    found = [one for one in container["env"] if "valueFrom" in one]
    return {one["name"]: one["valueFrom"]["secretKeyRef"]["name"] for one in found}


@pytest.mark.parametrize("mode", MODES)
def test_a_deployment_runs_a_command_that_there_is(mode: str) -> None:
    container = container_of(render(MODES[mode]), NAME)
    args, rest = read(container)
    assert args.command == {"server": "serve"}.get(mode, mode)
    if args.command == "serve":
        assert arguments(*rest).max_model_len == 4096
    else:
        assert rest == []
        assert args.port == container["ports"][0]["containerPort"]
    assert all(type(one["value"]) is str for one in container["env"] if "value" in one)
    assert (
        secrets(container).keys()
        == {
            "proxy": {"GUARD_UPSTREAM_KEY", "GUARD_PROXY_KEY", "GUARD_AUDIT_KEY"},
            "server": {"VLLM_API_KEY", "GUARD_AUDIT_KEY"},
            "guardrail": {"GUARD_GUARDRAIL_KEY", "GUARD_AUDIT_KEY"},
        }[mode]
    )
    assert {"name": "GUARD_AUDIT", "value": "/var/lib/guard/audit"} in container["env"]
    assert "/var/lib/guard/audit" in {one["mountPath"] for one in container["volumeMounts"]}


@pytest.mark.parametrize("mode", ["proxy", "server"])
def test_requests_have_the_time_that_the_pod_has(mode: str) -> None:
    found = render({**MODES[mode], "drainSeconds": 50, "extraArgs": []})
    args, rest = read(container_of(found, NAME))
    given = args.drain_timeout if mode == "proxy" else arguments(*rest).shutdown_timeout
    pod = named(found, "Deployment", NAME)["spec"]["template"]["spec"]
    assert given == 50 and pod["terminationGracePeriodSeconds"] == 65


@pytest.mark.parametrize("mode", MODES)
def test_a_pod_has_what_it_needs_and_no_more(mode: str) -> None:
    found = render(MODES[mode])
    pod = found["Deployment"][0]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] and not pod["automountServiceAccountToken"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    ready = "/guard/ready" if mode == "server" else "/health"
    for probe, path in (("startupProbe", "/health"), ("readinessProbe", ready)):
        assert container[probe]["httpGet"] == {"path": path, "port": "http"}
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
    assert own["spec"]["ingress"][0]["ports"] == [{"port": "http"}]
    assert upstream["spec"]["podSelector"] == {"matchLabels": {"app": "vllm"}}
    (rule,) = upstream["spec"]["ingress"]
    assert rule["from"] == [{"podSelector": own["spec"]["podSelector"]}]
    assert rule["ports"] == [{"port": 8000}]


def test_with_nobody_listed_nobody_reaches_the_guard() -> None:
    (policy,) = render(MODES["guardrail"])["NetworkPolicy"]
    assert policy["spec"]["ingress"] == [] and policy["spec"]["policyTypes"] == ["Ingress"]


@pytest.mark.parametrize("mode", MODES)
def test_metrics_are_found(mode: str) -> None:
    found = render(MODES[mode])
    (monitor,) = found["ServiceMonitor"]
    (endpoint,) = monitor["spec"]["endpoints"]
    port = "metrics" if mode == "proxy" else "http"
    assert endpoint["path"] == "/metrics" and endpoint["port"] == port
    assert ("authorization" in endpoint) == (mode == "guardrail")
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    (service,) = [
        one for one in found["Service"]
        if wanted <= one["metadata"]["labels"].items() and one["spec"]["ports"][0]["name"] == port
    ]  # fmt: skip
    ports = {one["name"]: one["containerPort"] for one in container_of(found, NAME)["ports"]}
    assert service["spec"]["ports"][0]["targetPort"] in ports


def test_the_metrics_of_a_proxy_are_not_where_clients_are() -> None:
    found = render(MODES["proxy"])
    args, _ = read(container_of(found, NAME))
    assert (args.metrics_host, args.metrics_port) == ("0.0.0.0", 8104)
    assert args.metrics_port != args.port
    assert [one["name"] for one in named(found, "Service", NAME)["spec"]["ports"]] == ["http"]
    clients, prometheus = named(found, "NetworkPolicy", NAME)["spec"]["ingress"]
    assert clients["ports"] == [{"port": "http"}] and prometheus["ports"] == [{"port": "metrics"}]
    assert prometheus["from"] == [{"podSelector": {"matchLabels": {"app": "prometheus"}}}]

    without = render({"proxy": {"metricsPort": 0}})
    assert read(container_of(without, NAME))[0].metrics_port is None
    assert len(without["Service"]) == 1


@pytest.mark.parametrize("mode", MODES)
def test_an_admin_may_be_beside_it(mode: str) -> None:
    found = render({**MODES[mode], **ADMIN})
    container = container_of(found, AS_ADMIN)
    args, rest = read(container)
    assert args.command == "admin" and rest == []
    assert args.port == container["ports"][0]["containerPort"] == 8102
    assert secrets(container) == {"GUARD_ADMIN_TOKEN": "guard-admin", "GUARD_AUDIT_KEY": "guard"}
    assert "GUARD_ADMIN_TOKEN" not in secrets(container_of(found, NAME))
    writable = {one["mountPath"] for one in container["volumeMounts"] if not one.get("readOnly")}
    assert {str(args.bundle.parent), "/tmp", "/var/lib/guard/audit"} <= writable
    assert str(args.policy.parent) not in writable
    pod = named(found, "Deployment", AS_ADMIN)["spec"]["template"]["spec"]
    assert {one["name"] for one in container["volumeMounts"]} == {
        one["name"] for one in pod["volumes"]
    }
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["httpGet"] == {"path": "/guard/health", "port": "admin"}


def test_nobody_takes_the_admin_for_a_guard() -> None:
    """Selectors of guards do not select it, and nobody reaches it who is not listed."""
    found = render({**MODES["proxy"], **ADMIN})
    labels = named(found, "Deployment", AS_ADMIN)["spec"]["template"]["metadata"]["labels"].items()
    for service in found["Service"]:
        hit = service["spec"]["selector"].items() <= labels
        assert hit == (service["metadata"]["name"] == AS_ADMIN)
    selectors = [
        one["spec"]["selector"]["matchLabels"]
        for kind in ("PodDisruptionBudget", "ServiceMonitor") for one in found[kind]
    ]  # fmt: skip
    selectors.append(named(found, "Deployment", NAME)["spec"]["selector"]["matchLabels"])
    assert not any(one.items() <= labels for one in selectors)
    policy = named(found, "NetworkPolicy", AS_ADMIN)["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= labels and policy["ingress"] == []
    *_, rule = named(found, "NetworkPolicy", NAME)["spec"]["ingress"]
    assert rule["from"] == [{"podSelector": policy["podSelector"]}]
    assert [one["metadata"]["name"] for one in render({})["Deployment"]] == [NAME]


@pytest.mark.parametrize("mode", MODES)
def test_helm_has_nothing_to_say_against_it(mode: str, tmp_path: Path) -> None:
    helm = shutil.which("helm")
    if helm is None:
        pytest.skip("Helm is not installed")
    file = tmp_path / "values.yaml"
    file.write_text(json.dumps({**MODES[mode], **ADMIN}), "utf-8")
    command = [helm, "lint", "--strict", str(CHART), "--values", str(file)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("mode", MODES)
def test_kubernetes_knows_every_field(mode: str, tmp_path: Path) -> None:
    command = shutil.which("kubernetes-validate")
    if command is None:
        pytest.skip("kubernetes-validate is not installed")
    found = render({**MODES[mode], **ADMIN})
    assert found.pop("ServiceMonitor")  # is Prometheus's, not of Kubernetes itself
    file = tmp_path / "objects.yaml"
    file.write_text(yaml.safe_dump_all([one for kind in found.values() for one in kind]), "utf-8")
    done = subprocess.run([command, "--strict", str(file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


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
        ({"serviceMonitor": {"enabled": True}, "proxy": {"metricsPort": 0}}, "serves no metrics"),
        ({"admin": {"enabled": True}}, "admin.policyClaim"),
    ],
)
def test_values_that_cannot_be_are_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(Exception, match=says):
        render(values)
