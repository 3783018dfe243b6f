"""Fixtures that all tests share: a policy by hand, its bundle, the real encoder and tokenizer."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # nothing here may depend on a network

import pytest
from hypothesis import settings

from guard.bundle import Bundle
from guard.cli import main
from guard.compile import compile_policy
from guard.encoder import Encoder
from guard.guard import Guard
from guard.models import resolve
from tests.material import write_policy

# A slow machine is no bug; an example that failed once is found again.
settings.register_profile("guard", deadline=None, max_examples=50)
settings.load_profile("guard")


@pytest.fixture
def policy_folder(tmp_path: Path) -> Path:
    """A folder of the test's own with ``policy.yaml`` and the data it names."""
    folder = tmp_path / "policy"
    write_policy(folder)
    return folder


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The policy of `tests.material` compiled with the real models; not to be changed."""
    folder = tmp_path_factory.mktemp("compiled")
    return compile_policy(write_policy(folder), folder / "bundle")


@pytest.fixture(scope="session")
def guard(bundle: Bundle) -> Guard:
    """The guard of `bundle`; immutable but for what it remembers."""
    return Guard(bundle)


@pytest.fixture(scope="session")
def encode() -> Encoder:
    """The real sentence encoder."""
    return Encoder(resolve("builtin:minilm"))


@pytest.fixture(scope="session")
def served() -> Path:
    """Folder of the small chat model that the policy names."""
    return Path(resolve("builtin:smollm2"))


@pytest.fixture(scope="session")
def tokenizer(served: Path) -> Any:
    """Its tokenizer."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(served)


Refused = Callable[..., str]


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Runs `guard compile`, which must refuse in one line and change nothing; returns the line."""

    def run(policy: Path, out: Path | None = None) -> str:
        before = tree(tmp_path)
        capsys.readouterr()
        status = main(["compile", str(policy), "--out", str(out or tmp_path / "out"), "--quiet"])
        printed, line = capsys.readouterr()
        assert status == 2
        assert printed == ""
        assert line.startswith("guard: ") and line.endswith("\n") and line.count("\n") == 1, line
        assert len(line) < 700, "a line that nobody reads"
        assert tree(tmp_path) == before
        return line

    return run


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder, with its content."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }
