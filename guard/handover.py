"""What a proxy has found, told to the guarded engine behind it: a verdict that can only add.

A verdict names targets that a body touches, and is signed for that body, for a short time. The
engine judges the body all the same, and does what its own bundle says about those targets too. So a
verdict that is stolen, replayed or moved can forbid what was allowed, and never allow what was
forbidden; and losing its key switches no guard off. That it was heeded the engine says in a receipt
which only it can write: without one, nothing of the answer may leave the proxy.
"""

import base64
import contextvars
import hashlib
import hmac
import json
import time
from collections.abc import Collection

from guard.errors import GuardError
from guard.secret import secret

KEY = "GUARD_VERDICT_KEY"  # the environment variable, the same before proxy and engine
HEADER = "x-guard-verdict"
RECEIPT = "x-guard-receipt"
DETECTOR = "proxy"  # what a finding of a verdict says in place of a detector
_FRESH = 60.0  # seconds; the clocks of two hosts are to be no further apart
_MOST = 4096  # characters of a header

# The targets that a proxy has found in the request that is being served.
found: contextvars.ContextVar[frozenset[str]] = contextvars.ContextVar("found", default=frozenset())


class Handover:
    """Signs verdicts and receipts, and checks them, with the key that both sides have.

    Args:
        key: The key.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def sign(self, targets: Collection[str], body: bytes) -> str:
        """Returns the header that tells an engine what a body touches."""
        named = json.dumps([int(time.time() * 1000), sorted(targets)]).encode()
        plain = base64.urlsafe_b64encode(named).decode()
        return f"{plain}.{self._mac(b'verdict', plain, body)}"

    def read(self, header: str, body: bytes) -> frozenset[str] | None:
        """Returns the targets that a header names; None where it is not genuine, or too old."""
        plain, _, mac = header.rpartition(".")
        if len(header) > _MOST or not _same(mac, self._mac(b"verdict", plain, body)):
            return None
        made, targets = json.loads(base64.urlsafe_b64decode(plain))  # genuine: of our own making
        return frozenset(targets) if abs(time.time() - made / 1000) <= _FRESH else None

    def receipt(self, header: str) -> str:
        """Returns what says that a verdict was heeded."""
        return self._mac(b"receipt", header, b"")

    def heeded(self, header: str, receipt: str | None) -> bool:
        """Whether a receipt is genuine, and for this verdict."""
        return _same(receipt or "", self.receipt(header))

    def _mac(self, purpose: bytes, text: str, body: bytes) -> str:
        message = b"\0".join((purpose, text.encode("utf-8", "replace"), _digest(body)))
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()


def handover(error: type[GuardError]) -> Handover | None:
    """Returns what the environment's key signs with; None where there is no key.

    Raises:
        GuardError: It is too short.
    """
    key = secret(KEY, error)
    return None if key is None else Handover(key.encode())


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())
