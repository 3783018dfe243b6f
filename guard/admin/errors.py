"""What can be wrong with an admin request, and how it is told: OpenAI's error schema."""

from typing import Any

from guard.errors import GuardError


class StaleError(GuardError):
    """The bundle is no longer the version that a change was meant for."""


class AbsentError(GuardError):
    """What was asked for is not there."""


class WantingError(GuardError):
    """A change says not which version it is meant for."""


class TakenError(GuardError):
    """What is to be made is there already, and may be another one."""


def told(message: str, type_: str, code: str | None = None) -> dict[str, Any]:
    """Returns an error in OpenAI's schema."""
    return {"error": {"message": message, "type": type_, "param": None, "code": code}}
