"""Two folders change names at one instant, where the file system can."""

import ctypes
import errno
from pathlib import Path
from typing import Any

import pytest

from guard import exchange as module
from guard.bundle import Bundle, load_bundle
from guard.exchange import exchange
from guard.targets import set_mode


def test_two_folders_change_names(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    assert exchange(tmp_path / "one", tmp_path / "other")
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["other"]
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["one"]


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        exchange(tmp_path / "one", tmp_path / "other")


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, None])
def test_where_it_cannot_be_done_a_bundle_is_replaced_all_the_same(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int | None
) -> None:
    class Library:
        def __init__(self, *args: Any, **options: Any) -> None:
            pass

        if number is not None:

            def renameat2(self, *args: Any) -> int:
                assert number is not None
                ctypes.set_errno(number)
                return -1

    monkeypatch.setattr(module.ctypes, "CDLL", Library)
    own = set_mode(bundle.path, ["tidewater"], "off", tmp_path / "own")
    after = set_mode(own.path, ["tidewater"], "enforce")
    assert load_bundle(own.path).version == after.version != own.version
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["own"]
