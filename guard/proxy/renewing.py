"""What serves by an edition of a bundle, a proxy or a guardrail, is given each new version."""

from pathlib import Path
from typing import Protocol, Self, TypeVar

from guard.bundle import Bundle
from guard.errors import EngineError
from guard.guard import Guard
from guard.recorder import Recorder
from guard.reload import Reloader


class Renewable(Protocol):
    """All of one version; see `guard.proxy.edition`."""

    @property
    def guard(self) -> Guard:
        """The guard that decides."""
        ...

    @property
    def version(self) -> str:
        """The bundle's version."""
        ...

    @property
    def bundle(self) -> Bundle:
        """The bundle."""
        ...

    def renewed(self, guard: Guard) -> Self:
        """The same by another version."""
        ...


E = TypeVar("E", bound=Renewable)


class Serving(Protocol[E]):
    """What serves by it, and reads it once for each request."""

    edition: E


def reloader(serving: Serving[E], folder: Path, recorder: Recorder, seconds: float) -> Reloader[E]:
    """Makes what has something serve by each new version of its bundle.

    Args:
        serving: What serves.
        folder: The bundle's.
        recorder: Is told what is served.
        seconds: Between two looks.
    """

    def load(folder: Path, before: E) -> E:
        guard = Guard.load(folder, before.guard)
        guard.warm()
        return before.renewed(guard)

    def swap(edition: E) -> None:
        serving.edition = edition

    return Reloader(folder, serving.edition, load, swap, recorder, seconds)


def check_same_model(before: Bundle, after: Bundle, what: str) -> None:
    """Checks that a new version is for the model that is served.

    Args:
        before: The version in force.
        after: The new one.
        what: What serves it.

    Raises:
        EngineError: It is for another.
    """
    one, other = before.manifest.model, after.manifest.model
    if other.sha256 != one.sha256:
        raise EngineError(
            f"{after.path}: was compiled for {other.name}, not for {one.name}; "
            f"start another {what} for it"
        )
