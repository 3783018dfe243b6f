"""The files of a deployment hold what they name: commands, variables, files, routes and headers."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from vllm import envs

from guard import __version__, cli
from guard.guardrail.app import KEY
from guard.guardrail.contract import PATH
from tests.deploy.files import (
    COMPOSE,
    DEPLOY,
    IMAGES,
    PAGES,
    ROOT,
    UNITS,
    commands,
    everything,
    filled,
    plain_yaml,
    services,
    unit,
)
from tests.server.app import arguments

HARDENED = {"NoNewPrivileges": "yes", "ProtectSystem": "strict", "ProtectHome": "yes"}
HARDENED |= {"PrivateTmp": "yes", "CapabilityBoundingSet": "", "LimitCORE": "0", "UMask": "0077"}


def name(path: Any) -> str:
    return str(path.relative_to(ROOT)) if isinstance(path, Path) else str(path)


@pytest.mark.parametrize("path", plain_yaml(), ids=name)
def test_yaml_is_yaml(path: Path) -> None:
    assert yaml.safe_load(path.read_text("utf-8"))


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("*.json")), ids=name)
def test_json_is_json(path: Path) -> None:
    assert json.loads(path.read_text("utf-8"))


@pytest.mark.parametrize(("where", "words"), commands(), ids=lambda one: str(one)[:60])
def test_every_command_is_one(where: str, words: list[str]) -> None:
    args, rest = cli._parser().parse_known_args(words)
    if args.command == "serve":
        assert arguments(*rest)  # the rest is vLLM's
    else:
        assert rest == [], where
    if args.command == "models":
        assert args.name in cli_models()


def cli_models() -> set[str]:
    from guard.models import BUILTIN

    return set(BUILTIN)


def test_there_are_commands_of_every_kind() -> None:
    found = {words[0] for _, words in commands()}
    assert found >= {"serve", "proxy", "guardrail", "models", "compile"}


@pytest.mark.parametrize("path", everything(), ids=name)
def test_every_variable_is_read_by_somebody(path: Path) -> None:
    text = path.read_text("utf-8")
    code = "".join(file.read_text("utf-8") for file in (ROOT / "guard").rglob("*.py"))
    for variable in set(re.findall(r"\bGUARD_[A-Z_]+[A-Z]\b", text)):
        assert f'"{variable}"' in code, variable
    for variable in set(re.findall(r"\bVLLM_[A-Z_0-9]+[A-Z]\b", text)):
        assert variable in envs.environment_variables, variable


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_every_link_leads_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", path.read_text("utf-8")):
        if "://" not in link:
            assert (path.parent / link).exists(), link


@pytest.mark.parametrize("path", IMAGES, ids=name)
def test_images_are_built_from_what_there_is(path: Path) -> None:
    text = path.read_text("utf-8")
    for sources in re.findall(r"^COPY (?!--)(.*)$", text, re.M):
        for source in sources.split()[:-1]:
            assert (ROOT / source).exists(), source
    targets = set(re.findall(r"^FROM .* AS (\w+)$", text, re.M))
    for target in re.findall(r"--target (\w+)", text):
        assert target in targets
    pins = (ROOT / "pyproject.toml").read_text("utf-8")
    for pin in re.findall(r"[\w-]+==[\d.]+\d", text):
        assert pin in pins, f"{pin} is not what pyproject.toml pins"
    assert text.count("USER guard") == len(re.findall(r"^ENTRYPOINT", text, re.M))


@pytest.mark.parametrize("path", IMAGES, ids=name)
def test_images_hold_bytecode(path: Path) -> None:
    """Whom they run as may not write it: every start would compile vLLM in each process."""
    before, _, after = path.read_text("utf-8").partition("USER guard")
    assert "UV_COMPILE_BYTECODE=1" in before or "compileall" in before
    assert "uv pip" not in after or "UV_COMPILE_BYTECODE=1" in before


@pytest.mark.parametrize("path", COMPOSE, ids=name)
def test_composed_services_hold_together(path: Path) -> None:
    project = yaml.safe_load(path.read_text("utf-8"))
    for who, service in project["services"].items():
        build = service.get("build", {})
        context = (path.parent / build.get("context", "../../..")).resolve()
        assert context == ROOT
        if "dockerfile" in build:
            made = (ROOT / build["dockerfile"]).read_text("utf-8")
            assert not build.get("target") or f" AS {build['target']}\n" in made
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0] if not volume.startswith("$") else ""
            if source.startswith("."):
                assert (path.parent / source).exists(), volume
            elif source:
                assert source in project["volumes"], volume
        for needed in service.get("depends_on", ()):
            assert "healthcheck" in project["services"][needed], who
        assert set(service.get("networks", ())) <= project.get("networks", {}).keys()


def test_nobody_reaches_the_model_server_past_the_proxy() -> None:
    path = DEPLOY / "docker/proxy.yaml"
    project, found = yaml.safe_load(path.read_text("utf-8")), services(path)
    assert project["networks"]["models"] == {"internal": True}
    assert found["vllm"]["networks"] == ["models"] and "ports" not in found["vllm"]
    inside = {who for who, service in found.items() if "models" in service.get("networks", ())}
    assert inside == {"vllm", "guard-1", "guard-2"}
    assert "networks" not in found["nginx"]  # the default one
    assert [who for who, service in found.items() if "ports" in service] == ["nginx"]


@pytest.mark.parametrize("path", COMPOSE, ids=name)
def test_guards_run_with_nothing_that_they_do_not_need(path: Path) -> None:
    for service in services(path).values():
        if str(service.get("image", "")).startswith("guard-") and "command" in service:
            assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
            admin = service["command"][0] == "admin"
            (bundles,) = [volume for volume in service["volumes"] if ":/bundles" in volume]
            assert bundles.endswith(":/bundles" if admin else ":/bundles:ro")
            said = " ".join(service["healthcheck"]["test"])
            port = service["command"][service["command"].index("--port") + 1]
            assert f":{port}{'/guard' if admin else ''}/health" in said


@pytest.mark.parametrize("path", COMPOSE, ids=name)
def test_what_is_decided_and_changed_is_recorded_with_a_key(path: Path) -> None:
    for service in services(path).values():
        if str(service.get("image", "")).startswith("guard-") and "command" in service:
            audit = "/var/lib/guard/audit"
            assert audit in service["command"] or service["environment"]["GUARD_AUDIT"] == audit
            assert f"audit:{audit}" in service["volumes"]
            assert service["environment"]["GUARD_AUDIT_KEY"].startswith("${GUARD_AUDIT_KEY:?")


def test_only_who_administers_has_the_token_and_only_on_this_machine() -> None:
    for path in COMPOSE:
        holders = {
            who for who, one in services(path).items()
            if "GUARD_ADMIN_TOKEN" in one.get("environment", ())
        }  # fmt: skip
        assert holders == ({"admin"} if path.stem == "admin" else set())
    admin = services(DEPLOY / "docker/admin.yaml")["admin"]
    assert admin["ports"] == ["127.0.0.1:8102:8102"]


def compose() -> list[str]:
    """The command of Docker Compose, as a plugin or by itself."""
    for command in (["docker", "compose"], ["docker-compose"]):
        found = shutil.which(command[0])
        if found and not subprocess.run([*command, "version"], capture_output=True).returncode:
            return [found, *command[1:]]
    pytest.skip("Docker Compose is not installed")


@pytest.mark.parametrize(
    "names",
    ["server", "server server.cuda", "proxy", "guardrail", "server admin", "proxy admin",
     "guardrail admin"],
)  # fmt: skip
def test_compose_takes_it(names: str) -> None:
    files = [DEPLOY / f"docker/{one}.yaml" for one in names.split()]
    needed = {one for file in files for one in re.findall(r"\$\{(\w+):\?", file.read_text("utf-8"))}
    words = [word for file in files for word in ("-f", str(file))]

    def config(given: set[str]) -> "subprocess.CompletedProcess[str]":
        env = {"PATH": "/usr/bin:/bin", **dict.fromkeys(given, "x")}
        command = [*compose(), *words, "config", "--format", "json"]
        return subprocess.run(command, env=env, capture_output=True, text=True)

    done = config(needed)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["services"]
    assert found.keys() == {who for file in files for who in services(file)}
    if "admin" in found and "proxy" in names:
        shared = found["admin"]["networks"].keys() & found["guard-1"]["networks"].keys()
        assert shared == {"default"}  # where metrics are, and not where the model server is
    for secret in needed:
        missing = config(needed - {secret})
        assert missing.returncode and secret in missing.stderr


@pytest.mark.parametrize("path", UNITS, ids=name)
def test_units_are_hardened_and_have_their_secrets_elsewhere(path: Path) -> None:
    service = unit(path)["Service"]
    assert HARDENED.items() <= dict(service).items()
    assert service["RestartPreventExitStatus"] == "2"  # bad input does not mend itself
    assert not re.search(r"(KEY|TOKEN)=", path.read_text("utf-8"))
    example = path.parent / (Path(service["EnvironmentFile"]).name + ".example")
    given = set(re.findall(r"^(\w+)=", example.read_text("utf-8"), re.M))
    assert set(re.findall(r"\$\{(\w+)\}", service["ExecStart"])) <= given


@pytest.mark.parametrize("path", UNITS, ids=name)
def test_systemd_takes_it(path: Path, tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd is not installed")
    copy = tmp_path / path.name  # the command is not installed here
    copy.write_text(path.read_text("utf-8").replace("/opt/guard/bin/guard", "/bin/true"), "utf-8")
    done = subprocess.run([analyze, "verify", str(copy)], capture_output=True, text=True)
    assert path.name not in done.stderr, done.stderr


def test_litellm_is_told_to_fail_closed() -> None:
    path = DEPLOY / "litellm/config.yaml"
    (guardrail,) = yaml.safe_load(path.read_text("utf-8"))["guardrails"]
    said = guardrail["litellm_params"]
    assert said["guardrail"] == "generic_guardrail_api"
    assert set(said["mode"]) == {"pre_call", "post_call"}
    assert said["default_on"] and said["fail_on_error"]
    assert said["unreachable_fallback"] == "fail_closed"
    assert said["streaming_transform_mode"] == "incremental_diff"
    assert said["api_key"] == f"os.environ/{KEY}"
    service = services(DEPLOY / "docker/guardrail.yaml")["guardrail"]
    assert said["api_base"] == f"http://guardrail:{service['command'][6]}"
    assert PATH.startswith("/beta/")  # LiteLLM adds it


def test_filled_leaves_no_variable() -> None:
    assert filled("${A:-b} ${C:?why} ${D} $E") == "b x x x"


def test_the_chart_is_of_this_version() -> None:
    chart = yaml.safe_load((DEPLOY / "helm/guard/Chart.yaml").read_text("utf-8"))
    assert chart["appVersion"] == __version__
