"""The bundle with tenants, compiled once."""

import pytest

from guard.bundle import Bundle
from guard.guard import Guard
from tests.tenants.bundles import compiled


@pytest.fixture(scope="session")
def tenants_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    output = "{check: exact, on_hit: answer, answer: No.}"
    return compiled(tmp_path_factory.mktemp("tenants"), brennick=output)


@pytest.fixture(scope="session")
def tenants_guard(tenants_bundle: Bundle) -> Guard:
    return Guard(tenants_bundle)
