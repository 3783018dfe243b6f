"""Servers of which each file of live tests has its own: a guarded one, and a control beside it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from guard.bundle import Bundle
from guard.compile import compile_policy
from guard.models import resolve
from tests.engine.servers import Server, plain, ready, serve

DATA = Path(__file__).parents[2] / "guard" / "demo"
REFUSAL = "That is something I never learned."

POLICY = f"""\
version: 1
model: builtin:smollm2
defaults:
  detect: {{kind: cascade, multilingual: false}}
targets:
  - id: secret-target-one
    names: [William Shakespeare]
    forget: {DATA}/shakespeare/forget.jsonl
    retain: {DATA}/shakespeare/retain.jsonl
    intervene: {{kind: corrupt}}
  - id: secret-target-two
    names: [Isaac Newton]
    forget: {DATA}/newton/forget.jsonl
    retain: {DATA}/newton/retain.jsonl
    intervene: {{kind: refuse, message: {json.dumps(REFUSAL)}}}
  - id: secret-target-three
    names: [Charles Dickens]
    retain: {DATA}/shakespeare/neighbours.jsonl
    mode: shadow
    intervene: {{kind: refuse}}
"""


@pytest.fixture(scope="session")
def live_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle that corrupts one target, refuses another and watches a third."""
    folder = tmp_path_factory.mktemp("live")
    neighbours = [
        line
        for line in (DATA / "shakespeare/retain.jsonl").read_text("utf-8").splitlines()
        if "Dickens" not in line
    ]
    (folder / "neighbours.jsonl").write_text("\n".join(neighbours), "utf-8")
    text = POLICY.replace(f"{DATA}/shakespeare/neighbours.jsonl", "neighbours.jsonl")
    (folder / "policy.yaml").write_text(text, "utf-8")
    return compile_policy(folder / "policy.yaml", folder / "bundle")


@pytest.fixture(scope="module")
def servers(
    live_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, Server]]:
    """The guarded server and the control, started side by side."""
    logs = tmp_path_factory.mktemp("logs")
    control = plain(resolve("builtin:smollm2"), logs / "control.log")
    guarded = serve(live_bundle.path, logs / "guarded.log")
    with ready(guarded, control):
        yield guarded, control


@pytest.fixture(scope="module")
def guarded(servers: tuple[Server, Server]) -> Server:
    return servers[0]


@pytest.fixture(scope="module")
def control(servers: tuple[Server, Server]) -> Server:
    return servers[1]
