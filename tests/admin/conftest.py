"""An admin API over a bundle of the test's own."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from guard.admin.start import Settings, prepare
from guard.admin.tokens import Tokens
from guard.bundle import Bundle
from tests.material import write_policy

TOKEN = "a token of the tests, long enough".replace(" ", "-")
OTHER = "another token of the tests, as long".replace(" ", "-")
TOKENS = Tokens({"alex": TOKEN, "kim": OTHER})
BEARER = {"Authorization": f"Bearer {TOKEN}"}

Make = Callable[..., TestClient]


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GUARD_AUDIT", "GUARD_AUDIT_KEY", "GUARD_ADMIN_TOKEN", "GUARD_ADMIN_TOKENS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def own(bundle: Bundle, tmp_path: Path) -> Path:
    """The shared bundle, to be changed."""
    return Path(shutil.copytree(bundle.path, tmp_path / "bundle"))


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """The shared policy, to be changed."""
    return write_policy(tmp_path / "policy")


@pytest.fixture
def make(own: Path, policy: Path) -> Iterator[Make]:
    """Makes an API, and a client that shows a token."""
    made = []

    def client(transport: Any = None, **options: Any) -> TestClient:
        app = prepare(Settings(own, policy, **options), TOKENS, transport=transport)
        one = TestClient(app, headers=BEARER)
        one.__enter__()
        made.append(one)
        return one

    yield client
    for one in made:
        one.__exit__(None, None, None)


@pytest.fixture
def audit(tmp_path: Path) -> Path:
    """Where the audit will be."""
    return tmp_path / "audit"


@pytest.fixture
def client(make: Make, audit: Path) -> TestClient:
    """A client of an API with an audit."""
    return make(audit=audit)
