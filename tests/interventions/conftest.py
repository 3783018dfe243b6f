"""Ladders of adapters lie in a folder of the tests', not in the user's cache."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def ladders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.getbasetemp() / "ladders"
    monkeypatch.setattr("guard.ladder.cache_folder", lambda: folder)
    return folder
