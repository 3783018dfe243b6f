"""What stands for whom: of each target the mode and the interventions that hold for one tenant.

Whoever is no tenant, where tenants are told apart, gets every target in the strictest way that it
has for anybody: leaving a key out, or showing a wrong one, never gains anything.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from guard.bundle import Bundle
from guard.fitted import read_record
from guard.interventions import INTERVENTIONS
from guard.interventions.base import Intervention
from guard.manifest import FittedRecord, Mode, PerTenantRecord, TargetRecord

Band = tuple[Intervention, ...]
Make = Callable[[Sequence[FittedRecord]], Band]


@dataclass(frozen=True)
class Stand:
    """How a target stands for whoever asks.

    Attributes:
        mode: Its mode, which is not ``off``.
        sure: What is done about it, in this order.
        doubtful: What is done in its place where the finding leaves doubt.
    """

    mode: Mode
    sure: Band
    doubtful: Band

    @property
    def bands(self) -> tuple[Band, ...]:
        """What may be done about it, each once."""
        return tuple(dict.fromkeys((self.sure, self.doubtful)))


class Standing:
    """How one target stands, for every tenant and for nobody.

    Args:
        target: The target.
        bundle: Its bundle.

    Raises:
        GuardError: An intervention of it is not installed.
        ValueError: What was fitted is not what it reads; KeyError likewise.
    """

    def __init__(self, target: TargetRecord, bundle: Bundle) -> None:
        tenants = [tenant.id for tenant in bundle.manifest.tenants]

        def made(band: Sequence[FittedRecord]) -> Band:
            return _interventions(target.id, band, bundle)

        plain = _bands(target, made)
        assert plain is not None
        self.stands: dict[str | None, Stand] = {}
        for tenant in tenants:
            mode = target.mode_for(tenant)
            if mode != "off":
                other = target.per_tenant.get(tenant, PerTenantRecord())
                self.stands[tenant] = Stand(mode, *(_bands(other, made) or plain))
        if target.mode != "off" and not tenants:
            self.stands[None] = Stand(target.mode, *plain)
        elif target.mode != "off" or self.stands:
            every = [plain, *((one.sure, one.doubtful) for one in self.stands.values())]
            sure, doubtful = zip(*every, strict=True)
            self.stands[None] = Stand("enforce", _strictest(sure), _strictest(doubtful))

    @property
    def interventions(self) -> Band:
        """Every intervention that anybody may meet, each once."""
        bands = (band for stand in self.stands.values() for band in stand.bands)
        return tuple(dict.fromkeys(one for band in bands for one in band))


def strictness(band: Band) -> int:
    """How much is left of an answer: the higher, the less."""
    return max(one.strictness for one in band)


def _strictest(bands: Sequence[Band]) -> Band:
    return max(bands, key=strictness)  # the first of equals: what holds for everybody


def _bands(record: TargetRecord | PerTenantRecord, made: Make) -> tuple[Band, Band] | None:
    """What is done where there is no doubt, and where there is; None where nothing is said."""
    if record.interventions is None:
        return None
    sure = made(record.interventions)
    return sure, made(record.doubtful) if record.doubtful is not None else sure


def _interventions(target: str, records: Sequence[FittedRecord], bundle: Bundle) -> Band:
    made = []
    for record in records:
        kind, options, parts = read_record(record, INTERVENTIONS, bundle.arrays)
        made.append(kind(target, options, parts))
    return tuple(made)


Stands = Mapping[str, Stand]  # by target


def stands_of(standings: Mapping[str, Standing], tenant: str | None) -> Stands:
    """Returns what stands for a tenant, by target."""
    return {target: one.stands[tenant] for target, one in standings.items() if tenant in one.stands}
