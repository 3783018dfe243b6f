"""All that a call of a gateway is answered by of one version of a bundle, in one record."""

from collections.abc import Iterator
from dataclasses import dataclass

from guard.bundle import Bundle
from guard.errors import EngineError
from guard.guard import Guard
from guard.proxy.enforcement import INSTRUCT, REFUSE, Enforcement, Means
from guard.proxy.renewing import check_same_model

CARRIES = frozenset({REFUSE, INSTRUCT})


@dataclass(frozen=True)
class Edition:
    """What answers a call. Read once for each; an answer is checked by what judged its prompt.

    Attributes:
        guard: The guard.
        enforcement: What its targets get.
        instead: Whether what a guardrail cannot do about a request is replaced by a refusal.
    """

    guard: Guard
    enforcement: Enforcement
    instead: bool

    @property
    def version(self) -> str:
        """The bundle's version."""
        return self.guard.version

    @property
    def bundle(self) -> Bundle:
        """The bundle."""
        return self.guard.bundle

    @property
    def timeout(self) -> float:
        """Seconds that a judgement may take."""
        return self.bundle.manifest.timeout

    @classmethod
    def of(cls, guard: Guard, *, instead: bool) -> "Edition":
        """Settles what a bundle's targets get.

        Raises:
            EngineError: An enforced target's intervention cannot be done; names target and mend.
        """
        for target, kind in _unable(guard):
            if not instead:
                raise EngineError(
                    f"target {target}: {kind!r} cannot be done by a guardrail, which sees texts "
                    "only; use `guard serve` or `guard proxy`, or give --instead refuse to have "
                    "such requests refused"
                )
        return cls(guard, Enforcement(guard, Means(instead=True, vllm=False)), instead)

    def renewed(self, guard: Guard) -> "Edition":
        """The same by another version of the bundle.

        Raises:
            EngineError: An enforced target could not be kept, or it is for another model.
        """
        check_same_model(self.bundle, guard.bundle, "guardrail")
        return Edition.of(guard, instead=self.instead)


def _unable(guard: Guard) -> Iterator[tuple[str, str]]:
    """Enforced targets whose interventions a guardrail cannot do, and the first of these."""
    for target, stand in guard.detected.items():
        for one in (one for band in stand.bands for one in band):
            if stand.mode == "enforce" and one.kind not in CARRIES:
                yield target, one.kind
                break
