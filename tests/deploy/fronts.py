"""What stands in front of guards, run for real: NGINX and Envoy as the docs configure them."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.deploy.files import DEPLOY
from tests.engine.servers import free_port

NGINX = (DEPLOY / "nginx/guard.conf").read_text("utf-8")
ENVOY = (DEPLOY / "envoy/envoy.yaml").read_text("utf-8")


def _nginx(program: str, folder: Path, port: int, guards: Sequence[int]) -> list[str]:
    config = NGINX.replace("listen 8080;", f"listen 127.0.0.1:{port};")
    for number, guard in enumerate(guards, 1):
        config = config.replace(f"guard-{number}:8100", f"127.0.0.1:{guard}")
    paths = "".join(
        f"{name}_temp_path {folder}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off;\npid {folder}/pid;\nerror_log {folder}/error.log;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{paths}{config}\n}}\n",
        "utf-8",
    )
    return [program, "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]


def _envoy(program: str, folder: Path, port: int, guards: Sequence[int]) -> list[str]:
    config = ENVOY.replace(
        "{address: 0.0.0.0, port_value: 8080}", f"{{address: 127.0.0.1, port_value: {port}}}"
    )
    for number, guard in enumerate(guards, 1):
        config = config.replace(
            f"{{address: guard-{number}, port_value: 8100}}",
            f"{{address: 127.0.0.1, port_value: {guard}}}",
        )
    (folder / "envoy.yaml").write_text(config, "utf-8")
    log = str(folder / "envoy.log")
    return [
        program, "-c", str(folder / "envoy.yaml"), "--disable-hot-restart", "--log-path", log,
        "--concurrency", "1",
    ]  # fmt: skip


FRONTS: dict[str, Callable[[str, Path, int, Sequence[int]], list[str]]] = {
    "nginx": _nginx,
    "envoy": _envoy,
}


@asynccontextmanager
async def front(kind: str, folder: Path, guards: Sequence[int]) -> AsyncIterator[httpx.AsyncClient]:
    """Runs one in front of two guards; a client of it.

    Args:
        kind: Which of `FRONTS`.
        folder: For its files.
        guards: The ports of the guards.
    """
    program = shutil.which(kind)
    if program is None:
        pytest.skip(f"{kind} is not installed")
    port = free_port()
    command = FRONTS[kind](program, folder, port, guards)
    assert not re.search(r"guard-\d", (folder / Path(command[command.index("-c") + 1])).read_text())
    process = await asyncio.create_subprocess_exec(*command)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            for _ in range(400):
                try:
                    if (await client.get("/health")).status_code == 200:
                        break
                except httpx.HTTPError:
                    pass
                assert process.returncode is None, "it ended"
                await asyncio.sleep(0.05)
            else:
                pytest.fail("it does not come to serve")
            yield client
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
