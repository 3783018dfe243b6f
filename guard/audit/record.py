"""One record: a line of canonical JSON with the hash of the record before it.

The hash is SHA-256 over the record without its hash, in canonical JSON (sorted keys, no spaces,
ASCII), so that a record has one form only; with a key it is HMAC-SHA-256, and whoever can write the
file cannot make a record without the key.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

FIRST = "0" * 64  # what stands for the record before the first
_FIELDS = ("at", "body", "hash", "kind", "prev", "seq", "writer")


@dataclass(frozen=True)
class Record:
    """A record.

    Attributes:
        writer: The chain's writer.
        seq: Its number in the chain, from 0.
        at: When it was made: ISO 8601, UTC.
        kind: What it tells.
        body: The rest.
        prev: The hash of the record before.
        hash: Its own.
    """

    writer: str
    seq: int
    at: str
    kind: str
    body: Mapping[str, Any]
    prev: str
    hash: str

    def line(self) -> bytes:
        """The line that is written."""
        return canonical({**self.hashed(), "hash": self.hash}) + b"\n"

    def hashed(self) -> dict[str, Any]:
        """What the hash is of: all but itself."""
        return {name: value for name, value in vars(self).items() if name != "hash"}


class Sealer:
    """Makes and checks hashes.

    Args:
        key: Of HMAC-SHA-256; plain SHA-256 without.
    """

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key

    @property
    def key_id(self) -> str | None:
        """Tells keys apart without telling them; None without a key."""
        return None if self._key is None else self.hash({"key": "guard audit"})[:8]

    def hash(self, value: Mapping[str, Any]) -> str:
        """Returns the hash of a JSON object, 64 hex digits."""
        raw = canonical(value)
        if self._key is None:
            return hashlib.sha256(raw).hexdigest()
        return hmac.new(self._key, raw, hashlib.sha256).hexdigest()

    def record(
        self, writer: str, seq: int, time: float, kind: str, body: Mapping[str, Any], prev: str
    ) -> Record:
        """Makes a record, with its hash."""
        fields = {"writer": writer, "seq": seq, "at": instant(time), "kind": kind, "prev": prev}
        fields["body"] = body
        return Record(**fields, hash=self.hash(fields))  # type: ignore[arg-type]

    def holds(self, record: Record) -> bool:
        """Whether a record's hash is its own."""
        given = record.hash.encode("utf-8", "replace")
        return hmac.compare_digest(given, self.hash(record.hashed()).encode())


def canonical(value: Mapping[str, Any]) -> bytes:
    """Returns the one form of a JSON object."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    ).encode()


def parse(line: bytes) -> Record | None:
    """Reads a line, without its line break; None where it is no record in its one form."""
    try:
        value = json.loads(line)
        if canonical(value) != line or tuple(value) != _FIELDS:
            return None
        texts = all(isinstance(value[name], str) for name in _FIELDS if name not in ("body", "seq"))
        number = isinstance(value["seq"], int) and not isinstance(value["seq"], bool)
        if not (texts and number and isinstance(value["body"], dict)):
            return None
        return Record(**value)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None


def instant(time: float) -> str:
    """Returns a time, in seconds since 1970, as records have it."""
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="microseconds")
