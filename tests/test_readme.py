"""Every command of the README is run, as it stands there."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.engine.servers import Server, environment, free_port, wait_ready

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.S)
# `make demo` is run by tests/test_demo.py; `make test` is what runs this.
COVERED = {"make demo", "make test"}


def commands() -> list[str]:
    joined = "\n".join(text for language, text in BLOCKS if language == "bash")
    lines = joined.replace("\\\n", " ").splitlines()
    return [line.split("  #")[0].strip() for line in lines if line.strip()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the README's relative paths hold."""
    path = tmp_path_factory.mktemp("readme")
    (path / "guard").symlink_to(ROOT / "guard")
    return path


def _environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return environment(PATH=path)


def test_every_command_has_a_test() -> None:
    known = ("guard compile ", "guard check ", "guard targets ", "guard serve ", "curl ")
    for command in commands():
        assert command in COVERED or command.startswith(known), command


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target


@pytest.mark.engine
@pytest.mark.slow
def test_compile_check_serve_ask(folder: Path) -> None:
    """In the README's own order; only the port is another, since 8000 may be taken."""
    port = str(free_port())
    server = None
    try:
        for command in commands():
            if command in COVERED:
                continue
            if command.startswith("guard serve"):
                log = (folder / "serve.log").open("wb")
                process = subprocess.Popen(
                    [*command.split(), "--port", port],
                    cwd=folder,
                    env=_environment(),
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
                server = Server(process, f"http://127.0.0.1:{port}", folder / "serve.log")
                wait_ready(server)
                continue
            done = subprocess.run(
                command.replace(":8000", f":{port}"),
                shell=True,
                cwd=folder,
                env=_environment(),
                capture_output=True,
                text=True,
                timeout=300,
            )
            assert done.returncode == 0, f"{command}\n{done.stderr}"
            if command.startswith("guard check"):
                flagged, kept = done.stdout.splitlines()
                assert flagged.startswith("corrupt") and kept.startswith("allow")
            if command.startswith("curl"):
                text = json.loads(done.stdout)["choices"][0]["message"]["content"]
                assert text and "shakespeare" not in text.lower()
    finally:
        if server is not None:
            server.stop()


@pytest.mark.engine
@pytest.mark.slow
def test_the_python_example(folder: Path) -> None:
    (code,) = (text for language, text in BLOCKS if language == "python")
    (folder / "example.py").write_text(code, "utf-8")
    if not (folder / "bundle").exists():
        guard = [sys.executable, "-m", "guard", "compile", str(ROOT / "guard/demo/policy.yaml")]
        subprocess.run([*guard, "--out", "bundle"], cwd=folder, env=_environment(), check=True)
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "example.py"],
        cwd=folder,
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said = [line for line in done.stdout.splitlines() if "→" in line]
    assert "corrupt" in done.stdout and len(said) == 2, time.monotonic() - start
    assert "shakespeare" not in said[0].lower() and "paris" in said[1].lower()
