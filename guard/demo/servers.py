"""The servers that the demo compares: vLLM as it is, and vLLM guarded.

Run as a module, it is the first of the two: vLLM's own server, in this process.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
        lines = self.log.read_text(errors="replace").rstrip().splitlines()[-20:]
        return ServerFailed("\n".join([f"the {self.name} server {what}; {self.log} ends:", *lines]))

    def stop(self) -> None:
        """Ends it and all that it started; safe to call again."""
        # The guarded one ends what it started by itself, if it is given the time.
        for number, patience in ((signal.SIGTERM, 30), (signal.SIGKILL, 10)):
            try:
                os.killpg(self._process.pid, number)
            except ProcessLookupError:
                break
            deadline = time.monotonic() + patience
            while self._group_lives() and time.monotonic() < deadline:
                time.sleep(0.05)
        self._process.wait()

    def _group_lives(self) -> bool:
        self._process.poll()  # a child that has ended stays in its group until it is waited for
        try:
            os.killpg(self._process.pid, 0)
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
