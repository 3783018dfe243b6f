"""Where the audit lies: a folder a writer, in it numbered segments, the head, and the lock.

The head names the chain's last record; it is written after that record is on disk. So a chain that
ends before its head was cut.
"""

import hmac
import json
import os
from dataclasses import dataclass
from pathlib import Path

from guard.audit.record import Sealer, canonical
from guard.errors import AuditError

HEAD = "head.json"
LOCK = "lock"
_SUFFIX = ".jsonl"


@dataclass(frozen=True)
class Head:
    """The end of a chain.

    Attributes:
        seq: The number of its last record; -1 where it has none yet.
        hash: That record's hash.
    """

    seq: int
    hash: str


def writers(folder: Path) -> list[Path]:
    """Returns the folders of all chains.

    Raises:
        AuditError: There is no such folder, or it cannot be read.
    """
    try:
        found = sorted(path.parent for path in folder.glob(f"*/{HEAD}"))
        # A chain whose head was taken away is a chain all the same.
        found += [path for path in folder.glob("*/") if segments(path) and path not in found]
    except OSError as error:
        raise AuditError(f"{folder}: cannot be read: {error.strerror}") from None
    if not folder.is_dir():
        raise AuditError(f"{folder}: no such folder; give the one that `--audit` named")
    return sorted(found)


def segments(chain: Path) -> list[Path]:
    """Returns a chain's files, in their order."""
    return sorted(chain.glob(f"{'[0-9]' * 8}{_SUFFIX}"))


def segment(chain: Path, number: int) -> Path:
    """Returns where a chain's segment lies; numbers begin with 1."""
    return chain / f"{number:08d}{_SUFFIX}"


def read_head(chain: Path, sealer: Sealer) -> Head | None:
    """Returns a chain's head; None where there is none, or it is not genuine."""
    try:
        value = json.loads((chain / HEAD).read_bytes())
        seq, digest, mac = value["seq"], value["hash"], value["mac"]
        wanted = sealer.hash({"writer": chain.name, "seq": seq, "hash": digest})
        if not hmac.compare_digest(mac.encode("utf-8", "replace"), wanted.encode()):
            return None
        return Head(int(seq), str(digest))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write_head(chain: Path, head: Head, sealer: Sealer) -> None:
    """Writes a chain's head; it is the old one or the new one.

    Raises:
        OSError: It cannot be written.
    """
    value = {"writer": chain.name, "seq": head.seq, "hash": head.hash}
    beside = chain / f".{HEAD}"  # one name: whoever writes it holds the chain's lock
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(canonical({**value, "mac": sealer.hash(value)}) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, chain / HEAD)


def sync_folder(folder: Path) -> None:
    """Has new names in a folder outlast a power cut.

    Raises:
        OSError: The file system cannot.
    """
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
