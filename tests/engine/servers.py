"""Real servers for the tests: started as a user starts them, ended whatever happens."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from guard.compile import compile_policy

# float32: what a batch holds besides a request changes the last bits of a smaller type.
# The smallest blocks that the CPU takes: with its default of 128 tokens, short prompts never meet
# the prefix cache.
ENGINE_FLAGS = [
    *["--enforce-eager", "--dtype", "float32", "--max-model-len", "2048", "--block-size", "32"],
    *["--enable-prompt-tokens-details", "--enable-scale-out"],
    *["--enable-auto-tool-choice", "--tool-call-parser", "hermes"],
]
MODEL = "builtin:smollm2"


@dataclass
class Server:
    """A running server: its process, its address and its log."""

    process: "subprocess.Popen[bytes]"
    url: str
    log: Path

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=400)  # a slow machine is no bug

    def text(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def stop(self) -> None:
        for number, patience in ((signal.SIGTERM, 40), (signal.SIGKILL, 10)):
            if self.process.poll() is None:
                self.process.send_signal(number)
                try:
                    self.process.wait(patience)
                except subprocess.TimeoutExpired:
                    continue
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def environment(**changes: str | None) -> dict[str, str]:
    """This process's environment without any guard's, and with the changes."""
    base = {k: v for k, v in os.environ.items() if not k.startswith("GUARD_") or k == "GUARD_CACHE"}
    base |= {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
    for name, value in changes.items():
        if value is None:
            base.pop(name, None)
        else:
            base[name] = value
    return base


def launch(
    command: Sequence[str], log: Path, port: int, pass_fds: Sequence[int] = (), **env: str | None
) -> Server:
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", *command, "--port", str(port), "--host", "127.0.0.1"],
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment(**env),
            start_new_session=True,
            pass_fds=pass_fds,
        )
    return Server(process, f"http://127.0.0.1:{port}", log)


def serve(bundle: Path, log: Path, *flags: str, **env: str | None) -> Server:
    """`guard serve`, not waited for."""
    command = ["guard", "serve", MODEL, "--bundle", str(bundle), *ENGINE_FLAGS, *flags]
    return launch(command, log, free_port(), **env)


def plain(model: str, log: Path, *flags: str, **env: str | None) -> Server:
    """vLLM's own server, as somebody would start it who knows of no guard; not waited for."""
    command = ["vllm.entrypoints.openai.api_server", "--model", model]
    named = ["--served-model-name", MODEL]
    return launch([*command, *named, *ENGINE_FLAGS, *flags], log, free_port(), **env)


def wait_ready(server: Server, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            break
        try:
            if httpx.get(f"{server.url}/health", timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    tail = "\n".join(server.text().splitlines()[-30:])
    server.stop()
    raise AssertionError(f"the server did not become ready; its log ends:\n{tail}")


@contextlib.contextmanager
def ready(*servers: Server) -> Iterator[None]:
    """Waits until servers that were started side by side answer; ends them whatever happens."""
    try:
        for server in servers:
            wait_ready(server)
        yield
    finally:
        for server in servers:
            server.stop()


@contextlib.contextmanager
def serving(folder: Path, policy: str, *flags: str) -> Iterator[Server]:
    """A guarded server of a policy whose data lies in the folder, until the block is left."""
    (folder / "policy.yaml").write_text(policy, "utf-8")
    bundle = compile_policy(folder / "policy.yaml", folder / "bundle")
    server = serve(bundle.path, folder / "server.log", *flags)
    with ready(server):
        yield server


def wait_exit(server: Server, seconds: float = 240) -> int:
    """Waits for a server that must not start; returns its exit status."""
    try:
        return server.process.wait(seconds)
    finally:
        server.stop()
