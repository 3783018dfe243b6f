"""What `guard serve` hands on to the processes that answer requests, before anything starts."""

from pathlib import Path
from typing import Any

import pytest

from guard.bundle import Bundle
from guard.errors import AuditError, EngineError
from guard.server import serve as module


class Started(Exception):
    """In place of a server."""


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    environments: list[dict[str, str]] = []

    def popen(command: Any, env: dict[str, str], **kwargs: Any) -> Any:
        environments.append(env)
        raise Started

    monkeypatch.setattr(module.subprocess, "Popen", popen)
    monkeypatch.delenv("GUARD_AUDIT", raising=False)
    return environments


def run(bundle: Bundle, audit: Path | None) -> list[str]:
    said: list[str] = []
    with pytest.raises(Started):
        module.serve("builtin:smollm2", bundle.path, [], said.append, audit)
    return said


def test_the_audit_reaches_the_server(
    bundle: Bundle, tmp_path: Path, started: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = run(bundle, Path("audit"))
    assert started[0]["GUARD_AUDIT"] == str(tmp_path / "audit")
    assert f"decisions are recorded in {tmp_path / 'audit'}" in said


def test_without_an_audit_there_is_none(bundle: Bundle, started: list[dict[str, str]]) -> None:
    assert not any("recorded" in line for line in run(bundle, None))
    assert "GUARD_AUDIT" not in started[0]


def test_an_audit_that_cannot_be_written_is_known_before_anything_starts(
    bundle: Bundle, tmp_path: Path, started: list[dict[str, str]]
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AuditError, match="the audit cannot be written"):
        module.serve("builtin:smollm2", bundle.path, [], print, tmp_path / "file")
    assert started == []


def test_a_symlink_is_handed_on_as_one(
    bundle: Bundle, tmp_path: Path, started: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be switched to another version while the server runs."""
    monkeypatch.chdir(tmp_path)
    Path("current").symlink_to(bundle.path)
    with pytest.raises(Started):
        module.serve("builtin:smollm2", Path("current"), [], lambda line: None)
    assert started[0]["GUARD_BUNDLE"] == str(tmp_path / "current")


def test_a_wrong_interval_is_known_before_anything_starts(
    bundle: Bundle, started: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GUARD_RELOAD", "often")
    with pytest.raises(EngineError, match="GUARD_RELOAD=often: give off, or seconds"):
        module.serve("builtin:smollm2", bundle.path, [], print)
    assert started == []


def test_nothing_is_left_behind_where_nothing_starts(
    bundle: Bundle, started: list[dict[str, str]]
) -> None:
    run(bundle, None)
    assert not Path(started[0]["GUARD_DRAIN"]).exists()
