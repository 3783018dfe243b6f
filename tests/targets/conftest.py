"""Bundles of few everyday prompts, whose targets come and go."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from guard.bundle import Bundle
from guard.compile import compile_policy
from tests.material import (
    write_policy,
)
from tests.small import few


@pytest.fixture(scope="module", autouse=True)
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Few everyday prompts, so that a bundle compiles in a second."""
    with pytest.MonkeyPatch.context() as patch:
        few(patch, tmp_path_factory.mktemp("cache"))
        yield


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The policy of `tests.material`, for few everyday prompts and no other languages."""
    policy = write_policy(tmp_path_factory.mktemp("policy"))
    detect = "defaults: {detect: {max_false_positive_rate: 0.02, multilingual: false}}\n"
    policy.write_text(policy.read_text().replace("targets:", f"{detect}targets:"))
    return policy


@pytest.fixture(scope="module")
def whole(policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """All targets; not to be changed."""
    return compile_policy(policy, tmp_path_factory.mktemp("whole") / "bundle")


@pytest.fixture(scope="module")
def lone(policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The second target alone; not to be changed."""
    text = policy.read_text()
    start, end = text.index("  - id: brennick"), text.index("  - id: vessmere")
    only = policy.with_name("only.yaml")
    only.write_text(text[:start] + text[end : text.index("  - id: tidewater")])
    return compile_policy(only, tmp_path_factory.mktemp("lone") / "bundle")


@pytest.fixture
def own(lone: Bundle, tmp_path: Path) -> Path:
    """A copy of `lone` that a test may change."""
    return Path(shutil.copytree(lone.path, tmp_path / "bundle"))
