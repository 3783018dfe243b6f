"""Targets of a bundle that come and go: a new version each time, the others as they were.

What the targets share (everyday prompts, a tuned encoder) stays as it is in the bundle, so a new
target costs its own rows only, and no other target's decisions change.
"""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from guard.adding import Adding
from guard.bundle import Bundle, check_out, load_bundle
from guard.compile import Remembered, read_examples
from guard.encoder import Encoder
from guard.errors import GuardError, PolicyError
from guard.everyday import describe, everyday
from guard.identity import identify, model_folder
from guard.manifest import Mode, TargetRecord
from guard.models import resolve
from guard.policy import Policy, Target, load_policy
from guard.versions import alone, new_version

Report = Callable[[str], None]


def add_targets(
    folder: Path,
    policy: Path,
    ids: Sequence[str] = (),
    out: Path | None = None,
    report: Report = lambda line: None,
    encoder: Encoder | None = None,
    wanted: Policy | None = None,
) -> Bundle:
    """Adds targets of a policy to a bundle.

    Twice: a first version, in which names and words protect them, is there before anything is
    encoded; the second has the detectors that the policy asks for.

    Args:
        folder: The bundle.
        policy: Where the targets are described.
        ids: Which of its targets; those that the bundle does not have, without.
        out: The folder to make; the bundle itself is replaced without.
        report: Is told each step, a line at a time.
        encoder: The bundle's encoder where it is loaded already.
        wanted: The policy where it is read already; `policy` is its name in messages then.

    Raises:
        GuardError: Bundle, policy or data are wrong. Nothing is written then, or the message says
            that the first version was.
    """
    with alone(folder, out):
        bundle = load_bundle(folder)
        out = out or folder
        check_out(out)
        wanted = wanted or load_policy(policy)
        targets = _new(bundle, wanted, policy, ids)
        _check_tenants(bundle, targets, policy)
        encoder = _checked(bundle, wanted, policy, encoder)
        background = everyday(wanted.background)
        if describe(background) != bundle.manifest.background:
            raise PolicyError(
                f"{policy}: background: the bundle was compiled with other everyday prompts; give "
                "the same file, or run `guard compile` again"
            )
        encode = Remembered(encoder, [row.prompt for row in background])
        settled = [(target, read_examples(target, background)) for target in targets]
        adding = Adding(policy, out, encode, model_folder(resolve(wanted.model)), report)
        bundle, protected = adding.stand_ins(bundle, settled)
        if protected:
            now = f"version {bundle.version}: names and words protect {', '.join(protected)} now"
            report(f"wrote {out}: {now}")
        try:
            return adding(bundle, settled)
        except GuardError as error:
            if not protected:
                raise
            kept = f"names and words go on protecting {', '.join(protected)}"
            raise type(error)(f"{error} ({kept})") from None


def remove_targets(folder: Path, ids: Collection[str], out: Path | None = None) -> Bundle:
    """Takes targets out of a bundle, and everything that only they had.

    Raises:
        GuardError: A target is not there, or none would be left; nothing is written then.
    """
    with alone(folder, out):
        bundle = load_bundle(folder)
        check_out(out or folder)
        known = _known(bundle, ids)
        if not set(known) - set(ids):
            raise GuardError(f"{folder}: a bundle without targets guards nothing; leave one")
        kept = [t.model_dump() for t in bundle.manifest.targets if t.id not in ids]
        return new_version(bundle, out or folder, kept, {})


def set_mode(folder: Path, ids: Collection[str], mode: Mode, out: Path | None = None) -> Bundle:
    """Has targets enforced, watched in shadow, or switched off; nothing is fitted anew.

    Args:
        folder: The bundle.
        ids: The targets.
        mode: What they are from now on.
        out: The folder to make; the bundle itself is replaced without.

    Returns:
        The version that has it: the one there is, where the targets are so already.

    Raises:
        GuardError: A target is not there; nothing is written then.
    """
    with alone(folder, out):
        bundle = load_bundle(folder)
        check_out(out or folder)
        _known(bundle, ids)
        targets = bundle.manifest.targets
        if out is None and all(one.mode == mode for one in targets if one.id in ids):
            return bundle
        records = [
            {**one.model_dump(), "mode": mode} if one.id in ids else one.model_dump()
            for one in targets
        ]
        return new_version(bundle, out or folder, records, {})


def list_targets(folder: Path) -> list[dict[str, Any]]:
    """Returns what a bundle says of each target: plain data."""
    bundle = load_bundle(folder)
    return [summary(bundle, target) for target in bundle.manifest.targets]


def _known(bundle: Bundle, ids: Collection[str]) -> list[str]:
    """The ids of all targets.

    Raises:
        GuardError: One that is asked for is not among them.
    """
    known = [target.id for target in bundle.manifest.targets]
    for target in ids:
        if target not in known:
            raise GuardError(
                f"{bundle.path}: has no target {target!r} (it has: {', '.join(known)})"
            )
    return known


def summary(bundle: Bundle, target: TargetRecord) -> dict[str, Any]:
    """Returns what a bundle says of one target: plain data."""
    return {
        "id": target.id,
        "mode": target.mode,
        "provisional": target.provisional,
        "detectors": [stage.kind for stage in target.stages],
        "interventions": [one.kind for one in target.interventions],
        "output": [one.kind for one in target.output.checks] if target.output else [],
        "tenants": bundle.manifest.modes_by_tenant(target),
        "forget_rows": _rows(bundle, target, "positives"),
        "retain_rows": _rows(bundle, target, "neighbours"),
        **target.detection,
    }


def _new(bundle: Bundle, wanted: Policy, policy: Path, ids: Sequence[str]) -> list[Target]:
    """The targets to be added.

    Raises:
        PolicyError: One is not in the policy, or is in the bundle already, or there are none.
    """
    known = {target.id for target in bundle.manifest.targets if not target.provisional}
    offered = {target.id: target for target in wanted.targets}
    for target in ids:
        if target not in offered:
            raise PolicyError(f"{policy}: has no target {target!r} (it has: {', '.join(offered)})")
        if target in known:
            raise PolicyError(
                f"{bundle.path}: has a target {target!r} already; `guard targets remove` it first"
            )
    new = [offered[target] for target in ids] or [t for t in offered.values() if t.id not in known]
    if not new:
        raise PolicyError(f"{policy}: the bundle has all of its targets already")
    return new


def _checked(bundle: Bundle, wanted: Policy, policy: Path, encoder: Encoder | None) -> Encoder:
    """The bundle's encoder, where the policy's model and encoder are the bundle's."""
    for field, name, held in (
        ("model", wanted.model, bundle.manifest.model),
        ("encoder", wanted.encoder, bundle.manifest.encoder),
    ):
        folder = model_folder(resolve(name))
        if identify(folder) != held.sha256:
            raise PolicyError(f"{policy}: {field}: the bundle was compiled with {held.name}")
    return encoder or Encoder(str(folder))


def _check_tenants(bundle: Bundle, targets: Sequence[Target], policy: Path) -> None:
    """Refuses targets for tenants that the bundle does not know.

    Raises:
        PolicyError: As said.
    """
    known = {tenant.id for tenant in bundle.manifest.tenants}
    for target in targets:
        for id_ in (*(target.tenants or ()), *target.per_tenant):
            if id_ not in known:
                raise PolicyError(
                    f"{policy}: {target.id}: the bundle has no tenant {id_!r}; "
                    "`guard tenants set` gives it the policy's"
                )


def _rows(bundle: Bundle, target: TargetRecord, side: str) -> int:
    return max((len(bundle.arrays[stage.scores[side]]) for stage in target.stages), default=0)
