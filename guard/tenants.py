"""Tenants: who asks, as far as it is proved. By a key, or named by the operator's own code.

Policies and bundles hold SHA-256 hashes of keys, never a key. A key is long and random, so its hash
needs no salt and cannot be turned back.
"""

import contextvars
import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from guard.errors import GuardError

HASHED = "sha256:"  # what a key's hash begins with, in policies and bundles
_SCHEME = b"bearer "


@dataclass(frozen=True)
class Caller:
    """Who asks, before a bundle says whose tenant that is. Holds no key.

    Attributes:
        digest: The SHA-256 of the key that was shown; None where none was.
        tenant: The tenant that the operator's own code names; then no key counts.
    """

    digest: bytes | None = None
    tenant: str | None = None

    @classmethod
    def of_key(cls, key: bytes | None) -> "Caller":
        """Who shows a key; nobody where there is none."""
        return cls(hashlib.sha256(key).digest()) if key else cls()

    @classmethod
    def of_headers(cls, headers: Iterable[tuple[bytes, bytes]]) -> "Caller":
        """Who sends a request, by its bearer token, as vLLM's ``--api-key`` reads it.

        Args:
            headers: As ASGI has them. Of two tokens it cannot be told which one another reader
                goes by: they are nobody's.
        """
        shown = [value for name, value in headers if name.lower() == b"authorization"]
        return cls.of_key(bearer(shown[0]) if len(shown) == 1 else None)


NOBODY = Caller()

# Who asks for what runs in this context. The gate of `guard serve` sets it for each HTTP request.
caller: contextvars.ContextVar[Caller] = contextvars.ContextVar("caller", default=NOBODY)


@contextmanager
def as_tenant(tenant: str) -> Iterator[None]:
    """Has what is asked in this block be asked for a tenant: for an operator's own code.

    It holds for `GuardedLLM`, `GuardedClient` and for an `AsyncLLM` in this process. A name that
    the bundle does not have is an error of each request.

    Args:
        tenant: The tenant's id. Never what a client sent, unless it was authenticated.

    Example:
        >>> with as_tenant("acme"):
        ...     llm.chat([{"role": "user", "content": "Who wrote Hamlet?"}])
    """
    token = caller.set(Caller(tenant=tenant))
    try:
        yield
    finally:
        caller.reset(token)


class Tenants:
    """The tenants of a bundle.

    Args:
        keys: Tenant to the hashes of its keys.
        where: The bundle, for messages.
    """

    def __init__(self, keys: Mapping[str, Sequence[str]], where: object = "this bundle") -> None:
        self.ids = tuple(keys)
        self._where = where
        self._digests = [
            (bytes.fromhex(key.removeprefix(HASHED)), tenant)
            for tenant, hashes in keys.items()
            for key in hashes
        ]

    def known(self, tenant: str) -> str:
        """Returns a tenant's id.

        Raises:
            GuardError: There is no such tenant.
        """
        if tenant not in self.ids:
            has = ", ".join(self.ids) or "none"
            raise GuardError(f"{self._where}: has no tenant {tenant!r} (it has: {has})")
        return tenant

    def of(self, caller: Caller) -> str | None:
        """Returns who asks; None where it is no tenant.

        Raises:
            GuardError: The operator's own code names one that there is not.
        """
        if caller.tenant is not None:
            return self.known(caller.tenant)
        given, found = caller.digest or b"", None
        for digest, tenant in self._digests:  # all of them, whichever it is
            if hmac.compare_digest(given, digest):
                found = tenant
        return found


def bearer(header: bytes) -> bytes | None:
    """Returns the token of an ``Authorization`` header; None where it holds none."""
    scheme, token = header[: len(_SCHEME)], header[len(_SCHEME) :]
    return token or None if scheme.lower() == _SCHEME else None


def hashed(key: str) -> str:
    """Returns a key's hash, as policies have it."""
    return HASHED + hashlib.sha256(key.encode()).hexdigest()
