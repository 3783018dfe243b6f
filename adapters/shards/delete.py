"""Deletes a shard: every stage that it had a part in, and what is served is what is left."""

import shutil
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock

from adapters.shards.manifest import (
    ADAPTER,
    NAME,
    Manifest,
    Stage,
    check,
    longest,
    read,
    stage_folder,
    write,
)
from guard.errors import ModelError
from guard.registry import nearest


def delete_shard(root: Path, name: str) -> Manifest:
    """Deletes a shard, and with it the stages after it; the bytes of those before it stay.

    What has no trace of the shard is served from then on under the same name. A deletion that was
    killed is finished by asking for it again.

    Args:
        root: The folder.
        name: Of the shard.

    Returns:
        What is left.

    Raises:
        ModelError: There is no such shard, what is left has changed, or it cannot be deleted.
    """
    read(root)  # or a lock would be left in a folder that is none of ours
    with FileLock(root / f".{NAME}.lock"):
        before = read(root)
        names = [shard.name for shard in before.shards]
        if name not in names:
            raise ModelError(f"{root / NAME}: no shard {name!r}{nearest(name, names)}")
        orders = tuple(_before(order, name) for order in before.orders)
        after = replace(
            before,
            shards=tuple(shard for shard in before.shards if shard.name != name),
            orders=orders,
            serves=longest(orders),
            deleted=(
                *before.deleted,
                {"name": name, "at": datetime.now(UTC).isoformat(timespec="seconds")},
            ),
        )
        # Only what stays has to be whole, or a changed file would keep one from being deleted.
        check(root, replace(after, serves=None))
        try:
            _forget(root, before, after)
        except OSError as error:
            raise ModelError(f"{root}: cannot be deleted from: {error.strerror or error}") from None
        # Last: as long as the shard is named here, its deletion is not known to be done.
        write(root, after)
    return after


def _before(order: tuple[Stage, ...], name: str) -> tuple[Stage, ...]:
    """The stages before the one that a shard is new in."""
    at = next((n for n, stage in enumerate(order) if stage.shard == name), len(order))
    return order[:at]


def _forget(root: Path, before: Manifest, after: Manifest) -> None:
    """Removes files until nothing on the disk was trained on the shard."""
    for number, (old, new) in enumerate(zip(before.orders, after.orders, strict=True)):
        for at in range(len(new), len(old)):
            _remove(stage_folder(root, number, at))
    _remove(root / ADAPTER)
    if after.serves is None:
        return
    served = stage_folder(root, after.serves, len(after.orders[after.serves]) - 1)
    with tempfile.TemporaryDirectory(prefix=f".{ADAPTER}.", dir=root) as temp:
        shutil.copytree(served, Path(temp) / ADAPTER)
        (Path(temp) / ADAPTER).rename(root / ADAPTER)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
