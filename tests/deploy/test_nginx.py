"""NGINX in front: what is not listed stays outside, headers are cut, streams go through."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from guard.server.gate import OPEN_HEADER, PROBE_HEADER, WHO_HEADER
from tests.deploy.files import DEPLOY
from tests.engine.servers import free_port

CONFIG = (DEPLOY / "nginx/guard.conf").read_text("utf-8")
HEADERS = [header.decode() for header in (PROBE_HEADER, OPEN_HEADER, WHO_HEADER)]


def test_what_is_served_is_listed_and_the_rest_is_not_there() -> None:
    served = re.findall(r"location (.*?) \{(.*?)\n    \}", CONFIG, re.S)
    assert [path for path, _ in served] == ["/", "= /health", "/v1/"]
    assert served[0][1].strip() == "return 404;"
    for header in HEADERS:
        assert f'proxy_set_header {header} "";' in served[2][1]
        assert f"proxy_hide_header {header};" in served[2][1]
    assert "non_idempotent" not in CONFIG  # nothing is sent twice


class Upstream:
    """A server that says what it was sent, and streams one piece, then waits to be released."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.released = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.seen.append((scope["path"], headers))
        told = [(b"x-guard-who", b"7"), (b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": told})
        await send({"type": "http.response.body", "body": b"data: one\n\n", "more_body": True})
        if scope["path"] == "/v1/stream":
            await self.released.wait()
        await send({"type": "http.response.body", "body": b"data: two\n\n"})


@asynccontextmanager
async def behind_nginx(folder: Path) -> AsyncIterator[tuple[Upstream, httpx.AsyncClient]]:
    nginx = shutil.which("nginx")
    if nginx is None:
        pytest.skip("NGINX is not installed")
    upstream, inner, outer = Upstream(), free_port(), free_port()
    config = re.sub(r"guard-[12]:8100", f"127.0.0.1:{inner}", CONFIG)
    config = config.replace("listen 8080;", f"listen 127.0.0.1:{outer};")
    paths = "".join(
        f"{name}_temp_path {folder}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off;\npid {folder}/pid;\nerror_log {folder}/error.log;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{paths}{config}\n}}\n",
        "utf-8",
    )
    server = uvicorn.Server(uvicorn.Config(upstream, port=inner, log_level="error"))
    serving = asyncio.create_task(server.serve())
    log = str(folder / "error.log")
    process = await asyncio.create_subprocess_exec(
        nginx, "-e", log, "-c", str(folder / "nginx.conf")
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{outer}", timeout=30) as client:
            for _ in range(200):
                try:
                    await client.get("/health")
                    break
                except httpx.ConnectError:
                    await asyncio.sleep(0.05)
            upstream.seen.clear()
            yield upstream, client
    finally:
        upstream.released.set()
        process.terminate()
        await process.wait()
        server.should_exit = True
        await serving


async def test_a_real_nginx_does_so(tmp_path: Path) -> None:
    async with behind_nginx(tmp_path) as (upstream, client):
        for path in (
            "/metrics", "/guard/", "/guard/score", "/Metrics", "/v1/../metrics", "/%6detrics",
            "/v1/%2e%2e/guard/score", "//metrics", "/docs", "/collective_rpc", "/",
        ):  # fmt: skip
            assert (await client.get(path)).status_code == 404, path
        assert upstream.seen == []

        sent = {header: "x" for header in HEADERS} | {"x-request-id": "mine"}
        answer = await client.post("/v1/chat/completions", headers=sent, json={})
        assert answer.status_code == 200
        ((path, headers),) = upstream.seen
        assert path == "/v1/chat/completions"
        assert not headers.keys() & set(HEADERS)
        assert re.fullmatch("[0-9a-f]{32}", headers["x-request-id"])
        assert not answer.headers.keys() & set(HEADERS)

        assert (
            await client.post("/v1/chat/completions", content=b"a" * (9 << 20))
        ).status_code == 413


async def test_a_stream_is_not_held_back(tmp_path: Path) -> None:
    """The first piece arrives while the server waits with the second until it has arrived."""
    async with (
        behind_nginx(tmp_path) as (upstream, client),
        client.stream("POST", "/v1/stream", json={"stream": True}) as answer,
    ):
        pieces = answer.aiter_raw()
        assert await asyncio.wait_for(anext(pieces), 20) == b"data: one\n\n"
        upstream.released.set()
        assert await asyncio.wait_for(anext(pieces), 20) == b"data: two\n\n"
