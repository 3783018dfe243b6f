"""What a policy says of tenants: who they are, and what of a target is otherwise for one."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from guard.choices import Intervene
from guard.manifest import Mode
from guard.options import Strict
from guard.tenants import HASHED

_KEY = re.compile(rf"{HASHED}[0-9a-f]{{64}}")


class Tenant(Strict):
    """Somebody whose requests are told apart.

    Attributes:
        keys: The hashes of its API keys, as ``guard tenants key`` prints them; several while keys
            are changed, and none for one that only the operator's own code names.
    """

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    keys: tuple[str, ...] = ()

    @field_validator("keys")
    @classmethod
    def _hashes(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        for n, key in enumerate(keys):
            if not _KEY.fullmatch(key):  # not quoted: it may be the key itself
                raise PydanticCustomError(
                    "key",
                    "must be a key's hash (sha256: and 64 hexadecimal digits in small letters), "
                    "not the key; `guard tenants key` makes it",
                    {"path": (n,)},
                )
        return keys


class PerTenant(Strict):
    """What of a target is otherwise for one tenant.

    Attributes:
        mode: ``off``, ``shadow`` or ``enforce``; as for everybody without.
        intervene: What is done about it; as for everybody without.
    """

    mode: Mode | None = None
    intervene: Intervene | None = None

    def there(self, folder: Path) -> Self:
        """The same, the paths in options from a folder on."""
        return self.model_copy(
            update={"intervene": self.intervene and self.intervene.there(folder)}
        )


def check_tenants(
    tenants: Sequence[Tenant],
    targets: Iterable[tuple[Sequence[str] | None, Mapping[str, PerTenant]]],
) -> None:
    """Checks that tenants are told apart, and that targets name no others.

    Args:
        tenants: The policy's.
        targets: Of each target its ``tenants`` and ``per_tenant``.

    Raises:
        PydanticCustomError: One that names the field.
    """
    ids: set[str] = set()
    holders: dict[str, str] = {}
    for n, tenant in enumerate(tenants):
        if tenant.id in ids:
            what = f"{tenant.id!r} is used twice; ids must be unique"
            raise _wrong(what, "tenants", n, "id")
        ids.add(tenant.id)
        for place, key in enumerate(tenant.keys):
            if key in holders:
                what = f"{holders[key]!r} has this key already; give each tenant its own"
                raise _wrong(what, "tenants", n, "keys", place)
            holders[key] = tenant.id
    for n, (stands, others) in enumerate(targets):
        for place, id_ in enumerate(stands or ()):
            _check_known(id_, ids, "targets", n, "tenants", place)
            if id_ in (stands or ())[:place]:
                raise _wrong(f"{id_!r} is given twice; keep one", "targets", n, "tenants", place)
        for id_ in others:
            _check_known(id_, ids, "targets", n, "per_tenant", id_)
            if stands is not None and id_ not in stands:
                what = f"the target does not stand for {id_!r}; add it to 'tenants', or take it out"
                raise _wrong(what, "targets", n, "per_tenant", id_)


def _check_known(id_: str, ids: set[str], *at: str | int) -> None:
    if id_ not in ids:
        has = ", ".join(sorted(ids)) or "none"
        raise _wrong(f"no such tenant; describe it under 'tenants' (there are: {has})", *at)


def _wrong(why: str, *at: str | int) -> PydanticCustomError:
    return PydanticCustomError("tenants", "{why}", {"why": why, "at": at})
