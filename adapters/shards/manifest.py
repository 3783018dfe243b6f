"""What a folder of sharded adapters holds: which shard is in which stage of which order."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from adapters.records import write_record
from adapters.registry import digest
from guard.errors import ModelError

NAME = "shards.json"
ADAPTER = "adapter"  # what is served: the last stage of one of the orders
ORDERS = "orders"
_VERSION = 1


@dataclass(frozen=True)
class Shard:
    """Rows that are deleted together.

    Attributes:
        name: As the request is called, say.
        rows: How many there are.
        sha256: Of the rows.
    """

    name: str
    rows: int
    sha256: str


@dataclass(frozen=True)
class Stage:
    """One training of an order; its folder holds the LoRA of this and of all stages before it.

    Attributes:
        shard: The shard that is new in it.
        sha256: Of its adapter, as in a registry.
    """

    shard: str
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What is there.

    Attributes:
        made_of: What all stages have in common: model, objective, options, settings, retain rows,
            and how many decoder layers a shard has. Hashes and numbers, never a row.
        shards: The shards that were not deleted.
        orders: The stages of each order that are left.
        serves: Which order is served; None where nothing is left of any.
        deleted: Names of deleted shards, and when.
    """

    made_of: dict[str, Any]
    shards: tuple[Shard, ...]
    orders: tuple[tuple[Stage, ...], ...]
    serves: int | None
    deleted: tuple[dict[str, str], ...] = field(default=())

    @property
    def taught(self) -> list[str]:
        """Names of the shards that the adapter which is served was trained on."""
        return [] if self.serves is None else [stage.shard for stage in self.orders[self.serves]]


def longest(orders: Sequence[Sequence[Stage]]) -> int | None:
    """The order with the most stages, the first of equals; None where all are empty."""
    most = max((len(order) for order in orders), default=0)
    return next((n for n, order in enumerate(orders) if len(order) == most), None) if most else None


def stage_folder(root: Path, order: int, stage: int) -> Path:
    """Where a stage lies; orders count from 0, stages too."""
    return root / ORDERS / str(order) / str(stage)


def read(root: Path) -> Manifest:
    """Reads what a folder says that it holds.

    Raises:
        ModelError: It is no such folder, or damaged.
    """
    path = root / NAME
    try:
        fields = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ModelError(f"{root}: holds no {NAME}; give what `shards train` made") from None
    except (OSError, ValueError):
        raise ModelError(f"{path}: damaged; restore it, or train anew") from None
    try:
        if fields["version"] != _VERSION:
            raise ModelError(f"{path}: of another version; train anew")
        orders = tuple(tuple(Stage(**one) for one in order) for order in fields["orders"])
        return Manifest(
            fields["made_of"],
            tuple(Shard(**shard) for shard in fields["shards"]),
            orders,
            fields["serves"],
            tuple(fields["deleted"]),
        )
    except (KeyError, TypeError):
        raise ModelError(f"{path}: damaged; restore it, or train anew") from None


def write(root: Path, manifest: Manifest) -> None:
    """Writes it in place of what is there.

    Raises:
        ModelError: It cannot be written.
    """
    write_record(root / NAME, {"version": _VERSION, **asdict(manifest)})


def check(root: Path, manifest: Manifest) -> None:
    """Refuses a folder in which an adapter has changed or is gone.

    Raises:
        ModelError: One has.
    """
    for number, order in enumerate(manifest.orders):
        for at, stage in enumerate(order):
            _same(stage_folder(root, number, at), stage.sha256)
    if manifest.serves is not None:
        _same(root / ADAPTER, manifest.orders[manifest.serves][-1].sha256)


def _same(folder: Path, sha256: str) -> None:
    if digest(folder) != sha256:
        raise ModelError(f"{folder}: has changed since it was trained; restore it, or train anew")
