"""Targets of a bundle that come and go: a new version each time, the others as they were.

What the targets share (everyday prompts, a tuned encoder) stays as it is in the bundle, so a new
target costs its own rows only, and no other target's decisions change.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from guard.bundle import (
    Bundle,
    TargetRecord,
    array_name,
    check_out,
    load_bundle,
    write_bundle,
)
from guard.compile import Remembered, read_examples, shared_record
from guard.detectors.detection import shared_parts
from guard.encoder import Encoder
from guard.errors import BundleError, GuardError, PolicyError
from guard.everyday import describe, everyday
from guard.fitting import fit_target, needs, share
from guard.identity import identify, model_folder
from guard.models import resolve
from guard.policy import Policy, Target, load_policy

Report = Callable[[str], None]


def add_targets(
    folder: Path,
    policy: Path,
    ids: Sequence[str] = (),
    out: Path | None = None,
    report: Report = lambda line: None,
    encoder: Encoder | None = None,
) -> Bundle:
    """Adds targets of a policy to a bundle.

    Args:
        folder: The bundle.
        policy: Where the targets are described.
        ids: Which of its targets; those that the bundle does not have, without.
        out: The folder to make; the bundle itself is replaced without.
        report: Is told each step, a line at a time.
        encoder: The bundle's encoder where it is loaded already.

    Raises:
        GuardError: Bundle, policy or data are wrong; nothing is written then.
    """
    with _alone(folder, out):
        bundle = load_bundle(folder)
        check_out(out or folder)
        wanted = load_policy(policy)
        targets = _new(bundle, wanted, policy, ids)
        encoder = _checked(bundle, wanted, policy, encoder)
        background = everyday(wanted.background)
        if describe(background) != bundle.manifest.background:
            raise PolicyError(
                f"{policy}: background: the bundle was compiled with other everyday prompts; give "
                "the same file, or run `guard compile` again"
            )
        encode = Remembered(encoder, [row.prompt for row in background])
        settled = [(target, read_examples(target, background)) for target in targets]
        held = shared_parts(bundle)
        known = {stage.kind for target in bundle.manifest.targets for stage in target.stages}
        if missing := needs(targets) - held.keys() - known:
            report(f"preparing {', '.join(sorted(missing))}, which no target had until now")
        shared = share(settled, encode, held)
        records, arrays = list(_records(bundle)), dict(bundle.arrays)
        for target, examples in settled:
            report(f"fitting {target.id}")
            try:
                record, stored = fit_target(target, examples, shared, encode, report)
            except GuardError as error:
                raise type(error)(f"{policy}: {target.id}: {error}") from None
            records.append(record)
            arrays |= stored
        return _write(bundle, out or folder, records, arrays, shared)


def remove_targets(folder: Path, ids: Collection[str], out: Path | None = None) -> Bundle:
    """Takes targets out of a bundle, and everything that only they had.

    Raises:
        GuardError: A target is not there, or none would be left; nothing is written then.
    """
    with _alone(folder, out):
        bundle = load_bundle(folder)
        check_out(out or folder)
        known = [target.id for target in bundle.manifest.targets]
        for target in ids:
            if target not in known:
                raise GuardError(f"{folder}: has no target {target!r} (it has: {', '.join(known)})")
        if not set(known) - set(ids):
            raise GuardError(f"{folder}: a bundle without targets guards nothing; leave one")
        records = [record for record in _records(bundle) if record["id"] not in ids]
        return _write(bundle, out or folder, records, dict(bundle.arrays), shared_parts(bundle))


def list_targets(folder: Path) -> list[dict[str, Any]]:
    """Returns what a bundle says of each target: plain data."""
    bundle = load_bundle(folder)
    return [_summary(bundle, target) for target in bundle.manifest.targets]


def _summary(bundle: Bundle, target: TargetRecord) -> dict[str, Any]:
    return {
        "id": target.id,
        "mode": target.mode,
        "detectors": [stage.kind for stage in target.stages],
        "intervention": target.intervention.kind,
        "forget_rows": _rows(bundle, target, "positives"),
        "retain_rows": _rows(bundle, target, "neighbours"),
        **target.detection,
    }


def _new(bundle: Bundle, wanted: Policy, policy: Path, ids: Sequence[str]) -> list[Target]:
    """The targets to be added.

    Raises:
        PolicyError: One is not in the policy, or is in the bundle already, or there are none.
    """
    known = {target.id for target in bundle.manifest.targets}
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


def _records(bundle: Bundle) -> list[dict[str, Any]]:
    return [target.model_dump() for target in bundle.manifest.targets]


def _write(
    bundle: Bundle, out: Path, records: list[dict[str, Any]], arrays: Any, shared: Any
) -> Bundle:
    manifest = bundle.manifest.model_dump(exclude={"format", "files", "targets", "shared"})
    manifest["targets"] = records
    manifest["shared"] = {kind: shared_record(parts) for kind, parts in shared.items()}
    for parts in shared.values():
        arrays |= {array_name(array): array for array in parts.arrays.values()}
    used = set()
    for record in (*manifest["shared"].values(), *(s for r in records for s in r["stages"])):
        used |= {*record["arrays"].values(), *record.get("scores", {}).values()}
    kept = {name: array for name, array in arrays.items() if name in used}
    return write_bundle(out, manifest, kept, beside=bundle)


def _rows(bundle: Bundle, target: TargetRecord, side: str) -> int:
    return max((len(bundle.arrays[stage.scores[side]]) for stage in target.stages), default=0)


@contextmanager
def _alone(folder: Path, out: Path | None) -> Iterator[None]:
    """Keeps other changes of a bundle waiting while it is changed in place.

    Raises:
        BundleError: The bundle's folder cannot be written.
    """
    if (out and out.resolve() != folder.resolve()) or not folder.is_dir():
        yield
        return
    lock = FileLock(folder.parent / f".{folder.name}.lock")
    try:
        lock.acquire()
    except OSError as error:
        raise BundleError(f"{folder}: cannot be written: {error.strerror}") from None
    try:
        yield
    finally:
        lock.release()
