"""A kill in the middle of a change leaves the old version or the new one, and never neither."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from guard.admin.writer import Writer
from guard.audit.record import Sealer
from guard.audit.verify import verify
from guard.bundle import Bundle, load_bundle
from guard.targets import remove_targets, set_mode
from tests.admin.conftest import BEARER, TOKEN
from tests.engine.servers import environment, free_port

TARGET = "tidewater"
_WRITES = ("open", "os.rename", "os.link", "os.remove", "os.rmdir", "os.mkdir", "ctypes.dlsym")


@pytest.fixture
def small(own: Path) -> Path:
    """A bundle of one target and few files."""
    remove_targets(own, ["brennick", "vessmere"])
    return own


def change(folder: Path, audit: Path) -> None:
    """Switches a target of a bundle to the other mode."""

    def make(report: Any) -> Bundle:
        (mode,) = (one.mode for one in load_bundle(folder).manifest.targets if one.id == TARGET)
        return set_mode(folder, [TARGET], "shadow" if mode == "enforce" else "enforce")

    Writer(folder, audit)("targets mode", "alex", None, lambda bundle: True, make)


def killed_at(step: int, folder: Path, audit: Path) -> bool:
    """Changes a bundle in a process that is killed before its n-th step with files.

    Returns:
        Whether it came to that; False where it was done before.
    """
    child = os.fork()
    if child == 0:
        left = step
        writing = False

        def hook(event: str, args: Any) -> None:
            nonlocal left, writing
            writing = writing or event == "tempfile.mkdtemp"  # until then it only reads
            if writing and event in _WRITES:
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        with contextlib.suppress(BaseException):
            change(folder, audit)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def test_a_kill_at_any_step_leaves_the_old_or_the_new(small: Path, audit: Path) -> None:
    old, seen = load_bundle(small), set[bool]()
    change(small, audit)
    new = load_bundle(small)
    arrays, step, kills = old.arrays.keys(), 0, 0
    change(small, audit)
    while True:
        before = load_bundle(small).version
        came = killed_at(step, small, audit)
        after = load_bundle(small)  # every file of it is checked
        assert after.version in (old.version, new.version) and after.arrays.keys() == arrays
        if not came:
            break
        kills += 1
        seen.add(after.version != before)
        step += 1
    assert seen == {False, True}, "killed before it was changed, and after"
    assert kills > 10
    change(small, audit)
    assert load_bundle(small).version != after.version, "nobody holds the lock any more"
    assert verify(audit, Sealer()).intact


def test_a_server_that_is_killed_while_it_changes(small: Path, policy: Path, audit: Path) -> None:
    versions = {load_bundle(small).version}
    with contextlib.ExitStack() as stack:
        for wait in (0.5, 1.0):
            port = free_port()
            command = [sys.executable, "-m", "guard", "admin", "--port", str(port)]
            command += ["--bundle", str(small), "--policy", str(policy), "--audit", str(audit)]
            process = subprocess.Popen(command, env=environment(GUARD_ADMIN_TOKEN=TOKEN))
            stack.callback(process.kill)
            wait_ready_at(f"http://127.0.0.1:{port}/guard/health", process)
            changed = threading.Event()

            def hammer(port: int = port, changed: threading.Event = changed) -> None:
                url = f"http://127.0.0.1:{port}/guard/targets/{TARGET}/mode"
                with httpx.Client(headers=BEARER) as client, contextlib.suppress(httpx.HTTPError):
                    while True:
                        for mode in ("shadow", "enforce", "off"):
                            reply = client.put(url, json={"mode": mode}, timeout=30)
                            versions.add(reply.json()["version"])
                            changed.set()

            thread = threading.Thread(target=hammer)
            thread.start()
            assert changed.wait(30)
            time.sleep(wait)
            process.kill()
            process.wait()
            thread.join(30)
            assert load_bundle(small).manifest.targets[0].id == TARGET
    assert len(versions) == 3
    assert verify(audit, Sealer()).intact


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_told_to_end_has_done_well(
    small: Path, policy: Path, audit: Path, number: signal.Signals
) -> None:
    port = free_port()
    command = [sys.executable, "-m", "guard", "admin", "--port", str(port)]
    command += ["--bundle", str(small), "--policy", str(policy), "--audit", str(audit)]
    process = subprocess.Popen(command, env=environment(GUARD_ADMIN_TOKEN=TOKEN))
    try:
        wait_ready_at(f"http://127.0.0.1:{port}/guard/health", process)
        process.send_signal(number)
        assert process.wait(30) == 0
    finally:
        process.kill()


def wait_ready_at(url: str, process: "subprocess.Popen[bytes]") -> None:
    """Waits until a server lives."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url).is_success:
                return
        time.sleep(0.05)
    raise AssertionError("it did not start")
