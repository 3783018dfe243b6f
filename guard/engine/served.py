"""A bundle in force in an engine. A request keeps to one from its first look to its last."""

import contextvars
import time
from dataclasses import dataclass, field, replace

from guard.bundle import Bundle
from guard.engine.mediator import Mediator
from guard.guard import Guard
from guard.tenants import Caller


@dataclass(frozen=True)
class Served:
    """All that belongs to one version: whoever has it needs to look nowhere else.

    Attributes:
        mediator: Judges what the engine's model reads.
        since: When it came into force, in seconds since 1970.
    """

    mediator: Mediator
    since: float = field(default_factory=time.time)

    @property
    def guard(self) -> Guard:
        """The guard that decides."""
        return self.mediator.guard

    @property
    def tenant(self) -> str | None:
        """Whom it decides for; None for whoever is no tenant."""
        return self.guard.tenant

    def for_caller(self, caller: Caller) -> "Served":
        """Returns what serves whoever asks.

        Raises:
            GuardError: The operator's own code names a tenant that there is not.
        """
        tenant = self.guard.tenants.of(caller)
        if tenant == self.tenant:
            return self
        return replace(self, mediator=self.mediator.for_tenant(tenant))

    @property
    def bundle(self) -> Bundle:
        """Its bundle."""
        return self.guard.bundle

    @property
    def version(self) -> str:
        """The bundle's version."""
        return self.guard.version

    @property
    def timeout(self) -> float:
        """Seconds that a judgement may take."""
        return self.bundle.manifest.timeout

    @property
    def opens(self) -> bool:
        """Whether what cannot be judged is answered all the same (policy ``on_error: open``)."""
        return self.bundle.manifest.on_error == "open"


# Which version the parts of one request keep to, by the front end that judges them: what the first
# of them has met. An HTTP request may ask the engine many times, as beam search does token by
# token; whoever takes it in sets an empty one.
kept: contextvars.ContextVar[dict[object, Served] | None] = contextvars.ContextVar(
    "kept", default=None
)
