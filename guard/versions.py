"""A new version of a bundle: some targets changed, everything else as it was."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy.typing as npt
from filelock import FileLock, Timeout

from guard.bundle import FORMAT, Bundle, array_name, write_bundle
from guard.compile import shared_record
from guard.detectors.base import Parts
from guard.errors import BundleError, BusyError
from guard.manifest import Manifest


def new_version(
    bundle: Bundle,
    out: Path,
    targets: Sequence[Mapping[str, Any]],
    arrays: Mapping[str, npt.NDArray[Any]],
    shared: Mapping[str, Parts] | None = None,
    tenants: Sequence[Mapping[str, Any]] | None = None,
) -> Bundle:
    """Writes a version of a bundle; files that nothing refers to any more are left out.

    Args:
        bundle: The version before; files that stay the same are linked.
        out: The folder to make.
        targets: The records of all targets.
        arrays: What they refer to beside the bundle's arrays, by file name.
        shared: What targets share, by detector kind; as it was without.
        tenants: The records of all tenants; as they were without.

    Raises:
        BundleError: `out` cannot be written.
    """
    manifest = bundle.manifest.model_dump(exclude={"format", "files", "targets"})
    manifest["targets"] = list(targets)
    if tenants is not None:
        manifest["tenants"] = list(tenants)
    known = {**bundle.arrays, **arrays}
    if shared is not None:
        manifest["shared"] = {kind: shared_record(parts) for kind, parts in shared.items()}
        known |= {array_name(a): a for parts in shared.values() for a in parts.arrays.values()}
    used = Manifest.model_validate({**manifest, "format": FORMAT, "files": {}}).named()
    kept = {name: array for name, array in known.items() if name in used}
    return write_bundle(out, manifest, kept, beside=bundle)


@contextmanager
def alone(folder: Path, out: Path | None, patience: float = -1) -> Iterator[None]:
    """Keeps other changes of a bundle waiting while it is changed in place.

    Args:
        folder: The bundle.
        out: The folder that is made; nobody waits for another one than the bundle's.
        patience: Seconds that the changes of others are waited for; below 0, as long as they take.

    Raises:
        BusyError: Somebody else still changes it.
        BundleError: The bundle's folder cannot be written.
    """
    if (out and out.resolve() != folder.resolve()) or not folder.is_dir():
        yield
        return
    # One for all: who holds it already may ask for it again.
    lock = FileLock(folder.parent / f".{folder.name}.lock", is_singleton=True)
    try:
        lock.acquire(timeout=patience)
    except Timeout:
        raise BusyError(f"{folder}: is being changed by another process; try again") from None
    except OSError as error:
        raise BundleError(f"{folder}: cannot be written: {error.strerror}") from None
    try:
        yield
    finally:
        lock.release()
