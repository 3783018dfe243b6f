"""The proof from outside holds for the version that is in force, if another came meanwhile."""

import json
import os
from pathlib import Path
from typing import Any

import httpx
import pytest

from guard.bundle import Bundle
from guard.engine.verdict import PROBE, Seals
from guard.errors import EngineError
from guard.guard import Guard
from guard.server import probe as module
from guard.server.probe import Address, Prover
from guard.versions import new_version

KEY = bytes.fromhex("ab" * 32)


class Server:
    """A guarded server's answers to a prover."""

    def __init__(self, guard: Guard) -> None:
        self.guard, self.seals, self.opened = guard, Seals(KEY), 0
        self.changes: Any = lambda: None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/health":
            self.opened += "x-guard-open" in request.headers
            return httpx.Response(200, json={"process": os.getpid()})
        self.changes()
        body = json.loads(request.content)
        found = self.guard.decide(body["prompt"]).findings
        statement = {
            "flagged": [one.target for one in found], "bundle": self.guard.version,
            "process": os.getpid(), "unsealed_refused": True,
        }  # fmt: skip
        text = self.seals.attest(body["vllm_xargs"][PROBE], statement)
        return httpx.Response(200, json={"choices": [{"text": text}]})


@pytest.fixture
def prover(bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Prover:
    targets = [target.model_dump() for target in bundle.manifest.targets]
    held = new_version(bundle, tmp_path / "bundle", targets, {})
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    return Prover(held, KEY, Address("http://server", None, "model", None, 1))


def served(prover: Prover, guard: Guard, monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server(Guard(prover.bundle, guard))
    client = httpx.Client(base_url="http://server", transport=httpx.MockTransport(server))
    monkeypatch.setattr(prover, "_client", lambda: client)
    monkeypatch.setattr(client, "close", lambda: None)
    return server


def change(prover: Prover) -> Bundle:
    """Puts a version with less targets where the prover's bundle lies."""
    targets = [target.model_dump() for target in prover.bundle.manifest.targets]
    return new_version(prover.bundle, prover.bundle.path, targets[1:], {})


def test_a_version_that_came_meanwhile_is_proved_in_its_place(
    prover: Prover, guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = served(prover, guard, monkeypatch)

    def changes() -> None:
        server.changes = lambda: None
        server.guard = Guard(change(prover), guard)

    server.changes = changes
    prover.prove_and_open()
    assert prover.bundle.version == server.guard.version and server.opened == 1


def test_a_server_that_guards_by_a_bundle_of_its_own_is_not_opened(
    prover: Prover, guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = served(prover, guard, monkeypatch)
    change(prover)
    prover.bundle = module.load_bundle(prover.bundle.path)
    with pytest.raises(EngineError, match=f"by bundle {server.guard.version}, not by this one"):
        prover.prove_and_open()
    assert server.opened == 0
