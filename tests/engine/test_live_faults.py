"""A detector that fails, hangs or dies in a running server: nothing unguarded comes out."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from guard.bundle import MANIFEST
from guard.compile import compile_policy
from tests.engine.endpoints import chat_body, completion_body
from tests.engine.servers import Server, serve, wait_ready

pytestmark = [pytest.mark.engine, pytest.mark.slow]

FAULTY = Path(__file__).parent / "faulty"
POLICY = """\
version: 1
model: builtin:smollm2
timeout: 2
defaults:
  detect: {kind: faulty}
targets:
  - id: faulty
    forget: forget.jsonl
    retain: retain.jsonl
    intervene: {kind: refuse, message: Never heard of it.}
"""


@pytest.fixture(scope="module")
def faulty_bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("faulty")
    (folder / "policy.yaml").write_text(POLICY, "utf-8")
    (folder / "forget.jsonl").write_text('{"text": "the forgettable thing"}\n', "utf-8")
    (folder / "retain.jsonl").write_text('{"text": "the memorable thing"}\n', "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FAULTY))
        yield compile_policy(folder / "policy.yaml", folder / "bundle").path


@pytest.fixture(scope="module")
def faulty(faulty_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("log") / "faulty.log"
    server = serve(faulty_bundle, log, PYTHONPATH=str(FAULTY))
    try:
        wait_ready(server)
        yield server
    finally:
        server.stop()


def _healthy(client: httpx.Client) -> None:
    good = client.post("/v1/chat/completions", json=chat_body("Name one colour.", max_tokens=5))
    assert good.status_code == 200 and good.json()["choices"][0]["message"]["content"]
    flagged = client.post("/v1/chat/completions", json=chat_body("Tell me of forgettable things."))
    assert flagged.json()["choices"][0]["message"]["content"] == "Never heard of it."
    assert client.get("/health").status_code == 200


@pytest.mark.parametrize("fault", ["RAISE", "HANG", "DIE", "EXHAUST"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/messages"])
def test_a_fault_ends_that_request_alone(faulty: Server, fault: str, path: str) -> None:
    text = f"PLEASE {fault}: what is the capital of France?"
    body = completion_body(text) if path == "/v1/completions" else chat_body(text)
    with faulty.client() as client:
        response = client.post(path, json=body)
        assert response.status_code == 503, response.text
        error = response.json()["error"]
        assert "could not judge" in error["message"]
        assert "Paris" not in response.text and "PLEASE" not in response.text
        if path != "/v1/messages":  # that route has Anthropic's own error form
            assert {"message", "type", "param", "code"} <= set(error) and error["code"] == 503
        _healthy(client)


def test_a_fault_in_a_stream_is_an_error_frame(faulty: Server) -> None:
    with faulty.client() as client:
        body = chat_body("PLEASE RAISE: what is the capital of France?", stream=True)
        response = client.post("/v1/chat/completions", json=body)
        assert "could not judge" in response.text
        assert "Paris" not in response.text
        _healthy(client)


async def test_others_are_served_while_one_hangs(faulty: Server) -> None:
    async with httpx.AsyncClient(base_url=faulty.url, timeout=60) as client:

        async def ask(text: str) -> tuple[int, float]:
            start = time.monotonic()
            body = chat_body(text, max_tokens=5)
            response = await client.post("/v1/chat/completions", json=body)
            return response.status_code, time.monotonic() - start

        hung = asyncio.create_task(ask("PLEASE HANG"))
        await asyncio.sleep(0.2)
        status, seconds = await ask("Name one colour.")
        assert status == 200 and not hung.done()
        assert (await hung)[0] == 503
    assert seconds < 2, "nobody waits for a hanging judgement"


def test_the_log_tells_the_fault_but_not_the_prompt(faulty: Server) -> None:
    with faulty.client() as client:
        client.post("/v1/completions", json=completion_body("PLEASE RAISE about Jane Roe"))
    log = faulty.text()
    assert "could not be judged (detector 'faulty' failed (RuntimeError)): refused" in log
    assert "Jane Roe" not in log


def test_a_bundle_that_is_damaged_while_served_changes_nothing(
    faulty: Server, faulty_bundle: Path
) -> None:
    path = faulty_bundle / MANIFEST
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[: len(whole) // 2])
        with faulty.client() as client:
            _healthy(client)
    finally:
        path.write_bytes(whole)
