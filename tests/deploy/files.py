"""What the files under `docs/deploy` say: their commands, variables and paths."""

import configparser
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "docs/deploy"
CHART = DEPLOY / "helm/guard"
COMPOSE = sorted(path for path in (DEPLOY / "docker").glob("*.yaml"))
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
IMAGES = sorted((DEPLOY / "docker").glob("*.Dockerfile"))
PAGES = [*sorted(DEPLOY.rglob("*.md")), ROOT / "docs/scaling.md"]


def everything() -> list[Path]:
    """All files, pages included."""
    return [path for path in [*DEPLOY.rglob("*"), ROOT / "docs/scaling.md"] if path.is_file()]


def plain_yaml() -> list[Path]:
    """All YAML that is no template."""
    return [path for path in DEPLOY.rglob("*.yaml") if "templates" not in path.parts]


def services(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))["services"]
    return found


def unit(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(path.read_text("utf-8"))
    return parser


def filled(text: str) -> str:
    """A text with its variables replaced: by their default, else by a word."""
    return re.sub(r"\$\{?(\w+)(?::-([^}]*)|:\?[^}]*)?\}?", lambda m: m[2] or "x", text)


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every `guard` command, without its first word, and where it stands."""
    for path in COMPOSE:
        for name, service in services(path).items():
            if str(service.get("image", "")).startswith("guard-") and "command" in service:
                yield f"{path.name} {name}", [filled(word) for word in service["command"]]
    for path in UNITS:
        words = shlex.split(filled(unit(path)["Service"]["ExecStart"]))
        assert words[0] == "/opt/guard/bin/guard"
        yield path.name, words[1:]
    for path in IMAGES:
        for found in re.findall(r"\bguard (models \S+)", path.read_text("utf-8")):
            yield path.name, found.split()
    for path in PAGES:
        for _, block in re.findall(r"```(bash|)\n(.*?)```", path.read_text("utf-8"), re.S):
            for line in block.replace("\\\n", " ").splitlines():
                found = re.match(r"(?:\$ )?(?:\w+=\S+ )*guard (.*?)(?:  #.*)?$", line.strip())
                if found and not found[1].startswith(("is", "does")):
                    text = re.sub(r"\$\(.*?\)", "x", found[1])
                    yield f"{path.name}: {line.strip()}", shlex.split(filled(text))
