"""The servers that the demo compares: vLLM as it is, and vLLM guarded.

Run as a module, it is the first of the two: vLLM's own server, in this process.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from guard.engine import settings
from guard.errors import GuardError

MODEL = "builtin:smollm2"

# float32, because in bfloat16 the knowledge of so small a model wobbles: an answer would change
# for reasons that have nothing to do with the guard.
FLAGS = (
    "--enforce-eager",
    "--dtype=float32",
    "--max-model-len=2048",
    f"--kv-cache-memory-bytes={2**30}",
)
LAST = 12  # lines of a log that are shown
_CAUSE = re.compile(r"(\(.*\] )?\w*(Error|Exception): ")


class ServerFailed(GuardError):
    """A server did not start, or did not answer; the message ends with its log."""


class Server:
    """A server in a process of its own, from its start until it is stopped.

    Args:
        name: What to call it.
        command: What starts it; host and port are added.
        port: Where it listens, on the loopback interface.
        log: File for all that it says.
    """

    def __init__(self, name: str, command: Sequence[str], port: int, log: Path) -> None:
        self.name = name
        self.log = log
        self.url = f"http://127.0.0.1:{port}"
        self.seconds: float | None = None
        self._started = time.monotonic()
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [*command, "--host=127.0.0.1", f"--port={port}"],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=_environment(),
                start_new_session=True,  # Ctrl-C is for the demo, which then stops it in order
            )

    def ready(self) -> bool:
        """Whether it answers; notes in `seconds` how long that took.

        Raises:
            ServerFailed: It has ended.
        """
        if self._process.poll() is not None:
            raise self.failure(f"ended with status {self._process.returncode}")
        try:
            answered = httpx.get(f"{self.url}/health", timeout=2, trust_env=False).is_success
        except httpx.HTTPError:
            return False
        if answered and self.seconds is None:
            self.seconds = time.monotonic() - self._started
        return answered

    def failure(self, what: str) -> ServerFailed:
        """An error that shows the end of the log."""
        lines = self.log.read_text(errors="replace").rstrip().splitlines()
        # The cause stands far above the end, once in the trace of each process.
        causes = dict.fromkeys(line for line in lines[:-LAST] if _CAUSE.match(line))
        shown = [*list(causes)[:2], "…", *lines[-LAST:]] if causes else lines[-LAST:]
        return ServerFailed("\n".join([f"the {self.name} server {what}; {self.log}:", *shown]))

    def terminate(self) -> None:
        """Asks it to end."""
        if self._process.poll() is None:
            self._process.terminate()

    def stop(self) -> None:
        """Ends it and all that it started; safe to call again."""
        groups = self._groups()
        self.terminate()
        # vLLM passes over a signal that comes while it starts, so that is not worth waiting for.
        self._wait(groups, 5 if self.seconds is None else 25)
        for group in groups | self._groups():
            _signal(group, signal.SIGKILL)
        self._wait(groups, 10)

    def _groups(self) -> set[int]:
        """The process groups that it and its descendants are in; all are its own."""
        processes = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # it has just ended
                _, parent, group = path.read_text().rpartition(")")[2].split()[:3]
                processes.append((int(path.parent.name), int(parent), int(group)))
        family = {self._process.pid}
        while more := {child for child, parent, _ in processes if parent in family} - family:
            family |= more
        return {self._process.pid} | {group for child, _, group in processes if child in family}

    def _wait(self, groups: set[int], patience: float) -> None:
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            self._process.poll()  # what has ended stays in its group until it is waited for
            if not any(_signal(group, 0) for group in groups):
                return
            time.sleep(0.05)


def _signal(group: int, number: int) -> bool:
    """Signals a process group; whether it is there."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def running(model: str, bundle: Path, folder: Path) -> Iterator[tuple[Server, Server]]:
    """Starts the unguarded and the guarded server, and stops both in the end, whatever happens.

    Args:
        model: The folder of the model.
        bundle: What guards the second.
        folder: Where their logs go.
    """
    plain = [sys.executable, "-m", "guard.demo.servers", model, f"--served-model-name={MODEL}"]
    guarded = [sys.executable, "-m", "guard", "serve", MODEL, f"--bundle={bundle}"]
    flags = (*FLAGS, "--gpu-memory-utilization=0.3")  # where there is a GPU, they share it
    ports = _free_ports(2)
    started: list[Server] = []
    try:
        started.append(Server("unguarded", [*plain, *flags], ports[0], folder / "unguarded.log"))
        started.append(Server("guarded", [*guarded, *flags], ports[1], folder / "guarded.log"))
        yield started[0], started[1]
    finally:
        with _uninterrupted():  # a second Ctrl-C must not leave one of them running
            for server in started:
                server.terminate()
            for server in started:
                server.stop()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _environment() -> dict[str, str]:
    """This environment without what would guard the wrong server, or ask for a key."""
    taken = {settings.BUNDLE, settings.VERSION, settings.KEY, "VLLM_API_KEY"}
    return {name: value for name, value in os.environ.items() if name not in taken}


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on; held together, so that they differ."""
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()


def main() -> None:
    """Runs vLLM's own server; what follows the module's name is what follows ``vllm serve``."""
    from guard.engine.compat import run_server

    run_server(sys.argv[1:], lambda args: None)


if __name__ == "__main__":
    main()
