"""Who a bundle's tenants are: listed, and given anew from a policy; nothing is fitted."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from guard.bundle import Bundle, check_out, load_bundle
from guard.choices import Intervene
from guard.compile import tenant_records
from guard.errors import PolicyError
from guard.manifest import FittedRecord, PerTenantRecord, TargetRecord
from guard.policy import Target, load_policy
from guard.versions import alone, new_version


def list_tenants(folder: Path) -> list[dict[str, Any]]:
    """Returns what a bundle says of each tenant: plain data, and no hash of a key."""
    manifest = load_bundle(folder).manifest
    return [
        {
            "id": tenant.id,
            "keys": len(tenant.keys),
            "targets": {
                target.id: mode
                for target in manifest.targets
                if (mode := target.mode_for(tenant.id)) != "off"
            },
        }
        for tenant in manifest.tenants
    ]


def set_tenants(folder: Path, policy: Path, out: Path | None = None) -> Bundle:
    """Gives a bundle the tenants of a policy; targets that the policy lacks stand as before.

    Args:
        folder: The bundle.
        policy: The policy.
        out: The folder to make; the bundle itself is replaced without.

    Returns:
        The version that has them: the one there is, where it has them already.

    Raises:
        GuardError: The policy wants something done that was not fitted, or a target that it lacks
            stands for a tenant that it lacks; nothing is written then.
    """
    with alone(folder, out):
        bundle = load_bundle(folder)
        check_out(out or folder)
        wanted = load_policy(policy)
        known = {tenant.id for tenant in wanted.tenants}
        described = {target.id: target for target in wanted.targets}
        records = []
        for record in bundle.manifest.targets:
            if (target := described.get(record.id)) is not None:
                records.append(_standing(record, target, policy))
                continue
            for id_ in sorted({*(record.tenants or ()), *record.per_tenant} - known):
                raise PolicyError(
                    f"{policy}: tenants: the bundle's target {record.id} is for {id_!r} too; keep "
                    "that tenant, or describe the target"
                )
            records.append(record)
        tenants = tenant_records(wanted)
        same = records == bundle.manifest.targets
        if out is None and same and tenants == [t.model_dump() for t in bundle.manifest.tenants]:
            return bundle
        plain = [record.model_dump() for record in records]
        return new_version(bundle, out or folder, plain, {}, tenants=tenants)


def _standing(record: TargetRecord, target: Target, policy: Path) -> TargetRecord:
    """A target's record, which stands for those that the policy says."""
    others = {}
    for id_, wanted in target.per_tenant.items():
        held = record.per_tenant.get(id_, PerTenantRecord())
        if wanted.intervene is None:
            held = PerTenantRecord()
        elif not _is_fitted(wanted.intervene, held):
            raise PolicyError(
                f"{policy}: {target.id}: per_tenant.{id_}.intervene: the bundle has not fitted it; "
                "run `guard compile`"
            )
        others[id_] = held.model_copy(update={"mode": wanted.mode})
    tenants = target.tenants and list(target.tenants)
    return record.model_copy(update={"tenants": tenants, "per_tenant": others})


def _is_fitted(wanted: Intervene, held: PerTenantRecord) -> bool:
    """Whether what is to be done is what was fitted: by kinds and options."""
    fitted = {"sure": held.interventions, "doubtful": held.doubtful}
    return all(
        _told(band and [_whole(choice) for choice in band]) == _told(fitted[name])
        for name, band in wanted
    )


def _whole(choice: Any) -> Mapping[str, Any]:
    options = choice.registry.get(choice.kind).Options.model_validate(choice.options)
    return {"kind": choice.kind, "options": options.model_dump(mode="json")}


def _told(band: Any) -> list[tuple[str, Any]] | None:
    if band is None:
        return None
    plain = (one.model_dump() if isinstance(one, FittedRecord) else one for one in band)
    return [(one["kind"], one["options"]) for one in plain]
