"""Two server processes behind one port find the same new bundle, and end together."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from guard.bundle import Bundle
from guard.versions import new_version
from tests.engine.conftest import REFUSAL
from tests.engine.endpoints import chat_body, post
from tests.engine.servers import Server, ready, serve

pytestmark = [pytest.mark.engine, pytest.mark.slow]

OTHER = "I never learned that either."


def test_each_of_two_processes_is_given_another_bundle(live_bundle: Bundle, tmp_path: Path) -> None:
    targets = [target.model_dump() for target in live_bundle.manifest.targets]
    new_version(live_bundle, tmp_path / "served", targets, {})
    server = serve(tmp_path / "served", tmp_path / "log", "--api-server-count", "2")
    with ready(server):
        _until(lambda: "ready: " in server.text())  # one process answers before the other
        assert _refusals(server) == {REFUSAL}
        (refusing,) = targets[1]["interventions"]
        refusing["options"]["message"] = OTHER
        held = new_version(live_bundle, tmp_path / "served", targets, {})
        _until(lambda: server.text().count(f"guard: live: bundle {held.version}") == 2)
        assert _refusals(server) == {OTHER}
    assert "every request has ended" in server.text()


def _until(held: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not held():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def _refusals(server: Server) -> set[str]:
    texts = set()
    for _ in range(8):  # a connection each: the kernel chooses which process answers
        with server.client() as client:
            answer = post(
                client, "/v1/chat/completions", chat_body("What did Isaac Newton discover?")
            )
            texts.add(answer["choices"][0]["message"]["content"])
    return texts
