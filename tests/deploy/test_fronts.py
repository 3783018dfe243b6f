"""NGINX and Envoy in front: what is not listed stays out, headers are cut, streams go through."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
import yaml

from guard.server.gate import OPEN_HEADER, PROBE_HEADER, WHO_HEADER
from tests.deploy.fronts import ENVOY, FRONTS, NGINX, front
from tests.engine.servers import Server, free_port, launch, ready
from tests.proxy.bundles import compiled
from tests.proxy.sockets import served
from tests.proxy.upstream import MODEL, Fake

HEADERS = [header.decode() for header in (PROBE_HEADER, OPEN_HEADER, WHO_HEADER)]
HIDDEN = [
    "/metrics", "/guard/", "/guard/score", "/Metrics", "/v1/../metrics", "/%6detrics",
    "/v1/%2e%2e/guard/score", "//metrics", "/docs", "/collective_rpc", "/",
]  # fmt: skip


def test_nginx_lists_what_is_served() -> None:
    served = re.findall(r"location (.*?) \{(.*?)\n    \}", NGINX, re.S)
    assert [path for path, _ in served] == ["/", "= /health", "/v1/"]
    assert served[0][1].strip() == "return 404;"
    for header in HEADERS:
        assert f'proxy_set_header {header} "";' in served[2][1]
        assert f"proxy_hide_header {header};" in served[2][1]
    assert "non_idempotent" not in NGINX  # nothing is sent twice
    assert "proxy_buffering off;" in served[2][1]


def test_envoy_lists_what_is_served() -> None:
    value = yaml.safe_load(ENVOY)["static_resources"]
    (chain,) = value["listeners"][0]["filter_chains"]
    manager = chain["filters"][0]["typed_config"]
    routes = manager["route_config"]
    assert set(routes["request_headers_to_remove"]) == set(HEADERS)
    assert set(routes["response_headers_to_remove"]) == set(HEADERS)
    (host,) = routes["virtual_hosts"]
    *listed, last = host["routes"]
    assert last == {"match": {"prefix": "/"}, "direct_response": {"status": 404}}
    assert [next(iter(route["match"].values())) for route in listed] == ["/health", "/v1/"]
    assert {route["route"]["cluster"] for route in listed} == {
        cluster["name"] for cluster in value["clusters"]
    }
    assert listed[1]["route"]["timeout"] == "0s"
    assert listed[1]["route"]["retry_policy"]["retry_on"] == "connect-failure"
    assert manager["normalize_path"] and manager["merge_slashes"]
    assert manager["path_with_escaped_slashes_action"] == "REJECT_REQUEST"


class Upstream:
    """A server that says what it was sent, and streams one piece, then waits to be released."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.released = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        if scope["path"] != "/health":  # which they ask by themselves
            self.seen.append((scope["path"], headers))
        told = [(b"x-guard-who", b"7"), (b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": told})
        await send({"type": "http.response.body", "body": b"data: one\n\n", "more_body": True})
        if scope["path"] == "/v1/stream":
            await self.released.wait()
        await send({"type": "http.response.body", "body": b"data: two\n\n"})


@asynccontextmanager
async def behind(kind: str, folder: Path) -> AsyncIterator[tuple[Upstream, httpx.AsyncClient]]:
    upstream, port = Upstream(), free_port()
    server = uvicorn.Server(uvicorn.Config(upstream, port=port, log_level="error"))
    serving = asyncio.create_task(server.serve())
    try:
        async with front(kind, folder, [port, port]) as client:
            yield upstream, client
    finally:
        upstream.released.set()
        server.should_exit = True
        await serving


@pytest.mark.parametrize("kind", FRONTS)
async def test_what_is_not_listed_stays_outside(kind: str, tmp_path: Path) -> None:
    async with behind(kind, tmp_path) as (upstream, client):
        for path in HIDDEN:
            assert (await client.get(path)).status_code == 404, path
        for path in ("/v1/%2fmetrics", "/v1%2f..%2fmetrics"):
            await client.get(path)
        assert not [path for path, _ in upstream.seen if "metrics" in path and path[:4] != "/v1/"]
        upstream.seen.clear()

        sent = {header: "x" for header in HEADERS} | {"x-request-id": "mine"}
        answer = await client.post("/v1/chat/completions", headers=sent, json={})
        assert answer.status_code == 200
        ((path, headers),) = upstream.seen
        assert path == "/v1/chat/completions"
        assert not headers.keys() & set(HEADERS)
        assert re.fullmatch("[0-9a-f-]{32,36}", headers["x-request-id"])
        assert not answer.headers.keys() & set(HEADERS)
        if kind == "nginx":  # Envoy leaves that to the guard
            large = await client.post("/v1/chat/completions", content=b"a" * (9 << 20))
            assert large.status_code == 413


@pytest.mark.parametrize("kind", FRONTS)
async def test_a_stream_is_not_held_back(kind: str, tmp_path: Path) -> None:
    """The first piece arrives while the server waits with the second until it has arrived."""
    async with (
        behind(kind, tmp_path) as (upstream, client),
        client.stream("POST", "/v1/stream", json={"stream": True}) as answer,
    ):
        pieces = answer.aiter_raw()
        assert await asyncio.wait_for(anext(pieces), 20) == b"data: one\n\n"
        upstream.released.set()
        assert await asyncio.wait_for(anext(pieces), 20) == b"data: two\n\n"


@pytest.fixture(scope="module")
def guards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Fake, list[Server]]]:
    """Two real `guard proxy` in front of one server."""
    folder, fake = tmp_path_factory.mktemp("guards"), Fake()
    bundle = compiled(folder)
    with ExitStack() as stack:
        upstream = stack.enter_context(served(fake))
        command = ["guard", "proxy", "--upstream", upstream, "--bundle", str(bundle.path)]
        proxies = [
            launch(
                command, folder / f"{number}.log", free_port(),
                GUARD_PROXY_KEY="k" * 40, GUARD_UPSTREAM_KEY="u" * 40,
            )
            for number in (1, 2)
        ]  # fmt: skip
        stack.enter_context(ready(*proxies))
        yield fake, proxies


def body(text: str, **more: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], **more}


@pytest.mark.slow
@pytest.mark.parametrize("kind", FRONTS)
async def test_real_guards_behind_it(
    kind: str, tmp_path: Path, guards: tuple[Fake, list[Server]]
) -> None:
    """Refused here, answered there, streamed as it is said, and one guard may end."""
    fake, proxies = guards
    ports = [int(proxy.url.rpartition(":")[2]) for proxy in proxies]
    async with front(kind, tmp_path, ports) as client:
        route = "/v1/chat/completions"
        assert (await client.post(route, json=body("Hello"))).status_code == 401
        client.headers["authorization"] = "Bearer " + "k" * 40
        fake.asked.clear()
        refused = await client.post(route, json=body("Who is Odalys Brennick?"))
        assert refused.status_code == 200 and "Brennick" not in fake.told
        assert fake.text not in refused.text
        assert fake.text in (await client.post(route, json=body("What is a whale?"))).text

        fake.pause, fake.sent = 1.0, 0
        sent = []  # how much the server had said when the first of it came
        streamed = body("What is a whale?", stream=True)
        async with client.stream("POST", route, json=streamed) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            async for line in answer.aiter_lines():
                if any(f'"{piece}"' in line for piece in fake.pieces):
                    sent.append(fake.sent)
        assert len(sent) == len(fake.pieces) and sent[0] < len(fake.pieces)
        fake.pause = 0.0

        if kind == [*FRONTS][-1]:  # nobody needs both of them any more
            proxies[0].stop()
            answers = [await client.post(route, json=body("What is a whale?")) for _ in range(6)]
            assert {answer.status_code for answer in answers} == {200}
