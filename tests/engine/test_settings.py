"""Where an engine is told its bundle, and the secret of a start."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from guard.engine.settings import (
    BUNDLE,
    KEY,
    VERSION,
    Settings,
    from_config,
    from_environment,
    start_key,
)
from guard.errors import EngineError
from guard.reload import RELOAD


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (BUNDLE, VERSION, KEY, RELOAD):
        monkeypatch.setenv(name, "")  # so that what a test sets is undone
        monkeypatch.delenv(name)


def test_nothing_configures_nothing() -> None:
    assert from_environment() is None
    for additional in (None, {}, {"other": 1}, [], "text", 7):
        assert from_config(additional) is None


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BUNDLE, "/b")
    assert from_environment() == Settings(Path("/b"))
    monkeypatch.setenv(VERSION, "0123")
    assert from_environment() == Settings(Path("/b"), "0123")
    monkeypatch.setenv(RELOAD, "off")
    assert from_environment() == Settings(Path("/b"), "0123", reload=None)


def test_an_empty_bundle_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unset shell variable must not switch the guard off."""
    monkeypatch.setenv(BUNDLE, "")
    for read in (from_environment, lambda: from_config({"guard": {"bundle": "/b"}})):
        with pytest.raises(EngineError, match="GUARD_BUNDLE is set but empty"):
            read()


def test_the_configuration() -> None:
    assert from_config({"guard": {"bundle": "/b"}}) == Settings(Path("/b"))
    pinned = Settings(Path("/b"), "1", reload=None)
    assert from_config({"guard": {"bundle": "/b", "version": "1"}}) == pinned


def test_the_environment_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever starts the process decides, not whoever writes a request or a configuration."""
    monkeypatch.setenv(BUNDLE, "/environment")
    assert from_config({"guard": {"bundle": "/config"}}) == Settings(Path("/environment"))
    assert from_config({"guard": "nonsense"}) == Settings(Path("/environment"))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (None, "guard: give"),
        ("/b", "guard: give"),
        ([], "guard: give"),
        ({}, "guard.bundle: give"),
        ({"bundle": ""}, "guard.bundle: give"),
        ({"bundle": None}, "guard.bundle: give"),
        ({"bundle": 7}, "guard.bundle: give"),
        ({"bundel": "/b"}, "guard.bundel: unknown field .did you mean 'bundle'"),
        ({"bundle": "/b", "mode": "off"}, "guard.mode: unknown field"),
        ({"bundle": "/b", "version": 1}, "guard.version: give"),
    ],
)
def test_a_wrong_entry_is_an_error(entry: Any, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        from_config({"guard": entry})


def test_the_key_is_made_once_and_inherited() -> None:
    key = start_key()
    assert len(key) == 32
    assert start_key() == key == bytes.fromhex(os.environ[KEY])
    code = "from guard.engine.settings import start_key; print(start_key().hex())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == key.hex()


def test_each_start_has_its_own_key() -> None:
    first = start_key()
    del os.environ[KEY]
    assert start_key() != first


@pytest.mark.parametrize("value", ["", "hello", "00" * 31, "0" * 63, "g" * 64, " "])
def test_a_key_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Never a weak key: who knows it could seal anything."""
    monkeypatch.setenv(KEY, value)
    with pytest.raises(EngineError, match="GUARD_START_KEY is not a key"):
        start_key()
