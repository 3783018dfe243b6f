"""Secrets that the environment gives."""

import pytest

from guard.errors import AuditError
from guard.secret import LEAST, secret


def test_a_secret_is_long_or_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GUARD_TRIED", raising=False)
    assert secret("GUARD_TRIED", AuditError) is None
    monkeypatch.setenv("GUARD_TRIED", "x" * LEAST)
    assert secret("GUARD_TRIED", AuditError) == "x" * LEAST


@pytest.mark.parametrize("short", ["", "hunter2", "x" * (LEAST - 1)])
def test_one_that_could_be_guessed_is_an_error_that_names_the_variable_alone(
    monkeypatch: pytest.MonkeyPatch, short: str
) -> None:
    """An empty one, too: a file of variables that nobody has filled in would leave it open."""
    monkeypatch.setenv("GUARD_TRIED", short)
    with pytest.raises(AuditError, match="GUARD_TRIED is set but has less than 32") as told:
        secret("GUARD_TRIED", AuditError)
    assert not short or short not in str(told.value)
