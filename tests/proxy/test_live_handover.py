"""A proxy in front of a running `guard serve`: what the one finds, the other does."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from guard.compile import compile_policy
from guard.handover import KEY
from tests.engine.conftest import DATA
from tests.engine.servers import Server, free_port, launch, ready, serve
from tests.proxy.ask import WAYS, answer
from tests.proxy.test_matrix import EVERYDAY

pytestmark = [pytest.mark.engine, pytest.mark.slow]

NEWTON = "Where was Isaac Newton born?"
BARE = "Isaac Newton was born in the year"
HAMLET = "Who wrote Hamlet? Was it William Shakespeare?"
VERDICTS = "v" * 40
HEAD = "version: 1\nmodel: builtin:smollm2\ndefaults:\n  detect: {kind: lexical}\ntargets:\n"
TARGET = """\
  - id: {id}
    names: [{name}]
    retain: {data}/{id}/retain.jsonl
    mode: {mode}
    intervene: {{kind: corrupt}}
"""


def policy(folder: Path, **modes: str) -> Path:
    """Compiles a policy: by target, its mode. HTTP can do nothing of it."""
    names = {"newton": "Isaac Newton", "shakespeare": "William Shakespeare"}
    targets = [TARGET.format(id=i, name=names[i], mode=m, data=DATA) for i, m in modes.items()]
    folder.mkdir()
    (folder / "policy.yaml").write_text(HEAD + "".join(targets), "utf-8")
    return compile_policy(folder / "policy.yaml", folder / "bundle").path


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """The engine, which only watches one target and has no other; and the proxy, which acts."""
    folder = tmp_path_factory.mktemp("handover")
    watching = policy(folder / "engine", newton="shadow")
    engine = serve(watching, folder / "engine.log", **{KEY: VERDICTS})
    with ready(engine):
        both = policy(folder / "proxy", newton="enforce", shakespeare="enforce")
        command = ["guard", "proxy", "--upstream", engine.url, "--bundle", str(both)]
        proxy = launch(command, folder / "proxy.log", free_port(), **{KEY: VERDICTS})
        with ready(proxy):
            yield engine, proxy


async def said(server: Server, way: str, question: str, stream: bool) -> Any:
    async with httpx.AsyncClient(base_url=server.url, timeout=120) as client:
        limit = "max_output_tokens" if way == "responses" else "max_tokens"
        more = {"temperature": 0, limit: 16}
        return await answer(client, WAYS[way], question, stream=stream, **more)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("way", ["chat", "completions", "responses", "messages"])
async def test_what_the_proxy_finds_the_engine_does(
    servers: tuple[Server, Server], way: str, stream: bool
) -> None:
    engine, proxy = servers
    asked = BARE if way == "completions" else NEWTON
    unguarded = await said(engine, way, asked, stream)
    through = await said(proxy, way, asked, stream)
    assert unguarded and through and through != unguarded
    assert "Newton" not in through, "its prompt was corrupted"
    assert await said(proxy, way, EVERYDAY, stream) == await said(engine, way, EVERYDAY, stream)


async def test_what_the_engine_cannot_do_is_not_answered(servers: tuple[Server, Server]) -> None:
    engine, proxy = servers
    assert await said(engine, "chat", HAMLET, False)
    async with httpx.AsyncClient(base_url=proxy.url, timeout=120) as client:
        response = await client.post(WAYS["chat"].path, json=WAYS["chat"].body(HAMLET))
    assert response.status_code == 503 and "Shakespeare" not in response.text
    assert "do not stand here" in engine.text()


def test_another_engine_is_not_trusted(servers: tuple[Server, Server], tmp_path: Path) -> None:
    engine, _ = servers
    bundle = policy(tmp_path / "other", newton="enforce")
    command = ["guard", "proxy", "--upstream", engine.url, "--bundle", str(bundle)]
    other = launch(command, tmp_path / "log", free_port(), **{KEY: "o" * 40})
    assert other.process.wait(120) == 2
    assert "is no guarded engine that heeds verdicts" in other.text()
