"""The routes: only for who knows the key, health for everybody."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from guard.cli import main
from guard.guard import Guard
from guard.guardrail import app as module
from guard.guardrail.app import make_app
from guard.guardrail.edition import Edition
from guard.guardrail.service import Service
from tests.engine.servers import Server, environment, free_port
from tests.guardrail.conftest import Start
from tests.guardrail.gateway import KEY, PATH, Gateway, Stopped, user
from tests.proxy.test_matrix import EVERYDAY, PERSON


@pytest.mark.parametrize("headers", [{"x-api-key": KEY}, {"authorization": f"Bearer {KEY}"}])
async def test_the_key_is_taken_in_either_header(
    start: Start, reading: Guard, headers: dict[str, str]
) -> None:
    gateway = start(reading)
    gateway.headers = headers
    assert await gateway.pre_call([user(EVERYDAY)]) == [EVERYDAY]


WRONG: list[dict[str, str]] = [
    {},
    {"x-api-key": ""},
    {"x-api-key": KEY[:-1]},
    {"x-api-key": KEY.upper()},
    {"x-api-key": "é"},
    {"authorization": "Bearer "},
    {"authorization": f"bearer{KEY}"},
    {"x-api-key": "wrong", "authorization": f"Bearer {KEY}"},
]


@pytest.mark.parametrize("headers", WRONG, ids=str)
async def test_who_does_not_know_it_is_told_nothing(
    start: Start, reading: Guard, headers: dict[str, str]
) -> None:
    client = start(reading).client
    sent: Any = {name: value.encode("latin-1") for name, value in headers.items()}
    for method, path in (("POST", PATH), ("GET", "/metrics")):
        response = await client.request(method, path, headers=sent, content=b"not even JSON")
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
        assert set(response.json()["error"]) == {"message", "type", "param", "code"}


async def test_everything_else_is_not_there(start: Start, reading: Guard) -> None:
    client = start(reading).client
    for path in ("/", "/docs", "/openapi.json", f"{PATH}/more", "/v1/chat/completions"):
        response = await client.get(path)
        assert (response.status_code, response.json()["error"]["code"]) == (404, 404)
    assert (await client.get(PATH)).status_code == 405


async def test_health_tells_the_truth(reading: Guard) -> None:
    service = Service(Edition.of(reading, instead=False))
    transport = httpx.ASGITransport(app=make_app(service, KEY))
    async with httpx.AsyncClient(transport=transport, base_url="http://guardrail") as client:
        assert (await client.get("/health")).json() == {"guard": "ok"}
        service.worker.stuck = service.worker.most_stuck
        assert (await client.get("/health")).status_code == 503
        with pytest.raises(Stopped, match="could not judge"):
            await Gateway(client).pre_call([user(EVERYDAY)])


async def test_metrics_are_shown_to_who_knows_the_key(start: Start, reading: Guard) -> None:
    gateway = start(reading)
    response = await gateway.client.get("/metrics", headers=gateway.headers)
    assert response.status_code == 200 and "# TYPE" in response.text


@pytest.mark.parametrize(
    ("key", "why"), [(None, "is not set"), ("", "less than 32"), ("short", "less than 32")]
)
def test_it_does_not_start_without_a_key(
    key: str | None,
    why: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv(module.KEY, raising=False)
    if key is not None:
        monkeypatch.setenv(module.KEY, key)
    assert main(["guardrail", "--bundle", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("guard: GUARD_GUARDRAIL_KEY ") and why in said


def test_a_missing_bundle_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(module.KEY, KEY)
    assert main(["guardrail", "--bundle", str(tmp_path / "none")]) == 2
    assert str(tmp_path / "none") in capsys.readouterr().err


def test_a_bundle_that_will_not_do_leaves_no_audit(
    corrupting: Guard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(module.KEY, KEY)
    monkeypatch.setenv("GUARD_AUDIT", str(tmp_path / "audit"))
    assert main(["guardrail", "--bundle", str(corrupting.bundle.path)]) == 2
    assert not (tmp_path / "audit").exists()


def test_the_command_serves(
    reading: Guard, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[Any] = []

    class Server:
        started = True

        def __init__(self, config: Any) -> None:
            started.append(config)

        def run(self) -> None:
            assert started

    monkeypatch.setattr(module.uvicorn, "Server", Server)
    monkeypatch.setenv(module.KEY, KEY)
    assert main(["guardrail", "--bundle", str(reading.bundle.path), "--port", "8111"]) == 0
    assert (started[0].port, started[0].host) == (8111, "127.0.0.1")
    assert "ready: http://127.0.0.1:8111" in capsys.readouterr().err


def test_what_waits_to_be_recorded_is_written_at_the_end(reading: Guard, tmp_path: Path) -> None:
    """A real process, which is told to end as service managers do."""
    audit = tmp_path / "audit"
    port = free_port()
    variables = {module.KEY: KEY, "GUARD_AUDIT": str(audit), "GUARD_LOG": "json"}
    command = ["guard", "guardrail", "--bundle", str(reading.bundle.path), "--port", str(port)]
    process = subprocess.Popen(
        [sys.executable, "-m", *command], env=environment(**variables), stderr=subprocess.PIPE
    )
    server = Server(process, f"http://127.0.0.1:{port}", tmp_path / "log")
    try:
        with server.client() as client:
            client.headers["x-api-key"] = KEY
            for _ in range(600):
                try:
                    client.get("/health")
                    break
                except httpx.ConnectError:
                    assert process.poll() is None
                    time.sleep(0.1)
            said = {"input_type": "request", "texts": [PERSON], "litellm_call_id": "call-1"}
            assert client.post(PATH, json=said).json()["action"] == "BLOCKED"
        process.terminate()
        _, log = process.communicate(timeout=60)
    finally:
        server.stop()
    assert process.returncode == 0
    assert b"Brennick" not in log and b"refuse (targets brennick)" in log
    (chain,) = audit.glob("*/*.jsonl")
    kinds = [json.loads(line)["kind"] for line in chain.read_text("utf-8").splitlines()]
    assert "decided" in kinds and kinds[-1] == "stop"
