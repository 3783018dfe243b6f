"""What a bundle's ``manifest.json`` says: of the bundle, of each target, of each fitted part."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

from guard.output.choices import Context, OnHit, Then

Mode = Literal["off", "shadow", "enforce"]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelIdentity(_Record):
    """Which model a bundle was made for.

    Attributes:
        name: As the policy wrote it.
        sha256: Hash of the files that say what the model is; see `guard.identity`.
    """

    name: str
    sha256: str


class StageRecord(_Record):
    """One fitted detector of one target.

    Attributes:
        kind: The detector's kind.
        threshold: A score that reaches it flags; None where this stage only dismisses.
        sure: A score that reaches it leaves no doubt: every row that must be kept scored lower
            when it was held out. None where this stage does not flag.
        floor: A window that scores lower is dismissed; None where this stage dismisses nothing.
        calibration: What is known about the threshold; see `guard.detectors.calibration`.
        sieve: What is known about the floor.
        data: What the detector keeps as JSON.
        arrays: Its arrays, name to file.
        scores: The held-out scores of forget, retain and everyday rows, name to file: numbers, by
            which a threshold can be chosen anew.
    """

    kind: str
    threshold: float | None
    sure: float | None
    floor: float | None
    calibration: dict[str, Any] | None
    sieve: dict[str, Any] | None
    data: dict[str, Any]
    arrays: dict[str, str]
    scores: dict[str, str]


class SharedRecord(_Record):
    """What all targets of one detector kind have in common."""

    data: dict[str, Any]
    arrays: dict[str, str]


class FittedRecord(_Record):
    """One intervention or check, fitted to one target.

    Attributes:
        kind: Its kind.
        options: Its options.
        data: What it keeps as JSON.
        arrays: Its arrays, name to file.
    """

    kind: str
    options: dict[str, Any]
    data: dict[str, Any]
    arrays: dict[str, str]


class OutputRecord(_Record):
    """How answers are checked for one target; see `guard.output.choices.OutputChoice`.

    Attributes:
        checks: What reads them, one of a kind.
    """

    checks: list[FittedRecord]
    on_hit: OnHit
    times: int
    then: Then
    answer: str
    context: Context


class TenantRecord(_Record):
    """A tenant: who has one of its keys.

    Attributes:
        keys: ``sha256:`` and the hash of each in hexadecimal digits.
    """

    id: str
    keys: list[str]


class PerTenantRecord(_Record):
    """What is otherwise for one tenant.

    Attributes:
        mode: The target's mode for it; None where it is as for everybody.
        interventions: What is done about it; None likewise.
        doubtful: What is done in their place where the finding leaves doubt.
    """

    mode: Mode | None = None
    interventions: list[FittedRecord] | None = None
    doubtful: list[FittedRecord] | None = None


class TargetRecord(_Record):
    """One target, compiled.

    Attributes:
        reason: Why it is to be forgotten, as the policy has it: a reference.
        interventions: What is done about it, in this order.
        doubtful: What is done in their place where the finding leaves doubt; None where the same.
        detection: What its stages do together with the rows that were held out.
        positives: Prompts that must be flagged, for the self-test; as few as will do.
        negatives: Prompts that must not be.
        provisional: Whether a detector stands in for the one that is still being fitted.
        output: How answers are checked for it; None where they are not.
        tenants: For whom it stands; None for all.
        per_tenant: What is otherwise for a tenant, by its id.
    """

    id: str
    reason: str = ""
    mode: Mode
    stages: list[StageRecord]
    detection: dict[str, Any]
    interventions: list[FittedRecord]
    doubtful: list[FittedRecord] | None
    positives: list[str]
    negatives: list[str]
    provisional: bool = False
    output: OutputRecord | None = None
    tenants: list[str] | None = None
    per_tenant: dict[str, PerTenantRecord] = {}

    def mode_for(self, tenant: str) -> Mode:
        """Its mode for a tenant: ``off`` where it does not stand for it."""
        if self.tenants is not None and tenant not in self.tenants:
            return "off"
        other = self.per_tenant.get(tenant)
        return (other and other.mode) or self.mode

    @property
    def bands(self) -> tuple[list[FittedRecord], ...]:
        """Every list of interventions that may be done about it, for whomever."""
        found = [self.interventions, self.doubtful]
        found += [b for o in self.per_tenant.values() for b in (o.interventions, o.doubtful)]
        return tuple(band for band in found if band is not None)

    @property
    def fitted(self) -> tuple[FittedRecord, ...]:
        """Its interventions and checks."""
        checks = self.output.checks if self.output else ()
        return (*(one for band in self.bands for one in band), *checks)

    @model_serializer(mode="wrap")
    def _additive(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without(serialize(self), {"tenants": None, "per_tenant": {}})


class Manifest(_Record):
    """Everything about a bundle but its arrays."""

    format: int
    created_by: str
    policy_sha256: str
    model: ModelIdentity
    encoder: ModelIdentity
    on_error: Literal["closed", "open"]
    timeout: float
    background: dict[str, Any]  # the everyday prompts: their number and hash
    shared: dict[str, SharedRecord]  # by detector kind
    tenants: list[TenantRecord] = []
    targets: list[TargetRecord]
    files: dict[str, str]  # path to sha256

    @property
    def live(self) -> list[TargetRecord]:
        """The targets that are not ``off`` for everybody."""
        ids = [tenant.id for tenant in self.tenants]
        return [
            target
            for target in self.targets
            if target.mode != "off" or any(target.mode_for(id_) != "off" for id_ in ids)
        ]

    def modes_by_tenant(self, target: TargetRecord) -> dict[str, Mode]:
        """A target's mode for each tenant; empty where it is the same for all of them."""
        modes = {tenant.id: target.mode_for(tenant.id) for tenant in self.tenants}
        return modes if set(modes.values()) - {target.mode} else {}

    def named(self) -> set[str]:
        """The files that anything here refers to."""
        stages = [stage for target in self.targets for stage in target.stages]
        fitted = [one for target in self.targets for one in target.fitted]
        held = [shared.arrays for shared in self.shared.values()]
        held += [names for stage in stages for names in (stage.arrays, stage.scores)]
        held += [one.arrays for one in fitted]
        return {file for names in held for file in names.values()}

    @model_serializer(mode="wrap")
    def _additive(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without(serialize(self), {"tenants": []})


def _without(value: dict[str, Any], absent: dict[str, Any]) -> dict[str, Any]:
    """A record without what says nothing: versions that do not know the field read it still."""
    return {key: held for key, held in value.items() if key not in absent or held != absent[key]}
