"""Whether there is an audit, where, and what happens when it cannot be written."""

import os
import re
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from guard.audit.record import Sealer
from guard.errors import AuditError
from guard.secret import secret

FOLDER = "GUARD_AUDIT"
KEY = "GUARD_AUDIT_KEY"
ON_ERROR = "GUARD_AUDIT_ON_ERROR"
SYNC = "GUARD_AUDIT_SYNC"
WRITER = "GUARD_AUDIT_WRITER"
WHO = "GUARD_AUDIT_WHO"

OnError = Literal["closed", "open"]
Sync = Literal["batch", "wait"]


@dataclass(frozen=True)
class AuditSettings:
    """How an audit is written.

    Attributes:
        folder: Its folder.
        key: Of the hashes, if any.
        on_error: What happens to a request whose answer the guard changes, when that cannot be
            recorded: ``closed`` refuses it, ``open`` counts it.
        sync: Whether such a request waits (``wait``) until its record is on disk.
        writer: The name of this machine's chains.
    """

    folder: Path
    key: bytes | None = None
    on_error: OnError = "closed"
    sync: Sync = "batch"
    writer: str = "guard"

    @property
    def sealer(self) -> Sealer:
        """What makes the hashes."""
        return Sealer(self.key)

    def check(self) -> None:
        """Tries whether the folder can be written, so that it is known before anything starts.

        Raises:
            AuditError: It cannot.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            tempfile.TemporaryFile(dir=self.folder).close()
        except OSError as error:
            raise AuditError(
                f"{self.folder}: the audit cannot be written: {error.strerror}"
            ) from None


def audit_settings(folder: Path | None = None) -> AuditSettings | None:
    """Returns how the environment wants the audit; None where there is none.

    Args:
        folder: Its folder; that of the environment without.

    Raises:
        AuditError: A variable is wrong; the message names it.
    """
    given = os.environ.get(FOLDER)
    if folder is None:
        if given is None:
            return None
        if not given:
            raise AuditError(f"{FOLDER} is set but empty; give a folder, or unset it")
        folder = Path(given)
    on_error, sync = os.environ.get(ON_ERROR, "closed"), os.environ.get(SYNC, "batch")
    if on_error not in ("closed", "open"):
        raise AuditError(f"{ON_ERROR}={on_error}: give closed or open")
    if sync not in ("batch", "wait"):
        raise AuditError(f"{SYNC}={sync}: give batch or wait")
    return AuditSettings(
        folder.resolve(), audit_key(), "open" if on_error == "open" else "closed",
        "wait" if sync == "wait" else "batch", _writer(),
    )  # fmt: skip


def audit_key() -> bytes | None:
    """Returns the key that the environment gives; None where it gives none.

    Raises:
        AuditError: It is so short that it could be guessed.
    """
    key = secret(KEY, AuditError)
    return None if key is None else key.encode("utf-8", "surrogateescape")


def _writer() -> str:
    name = os.environ.get(WRITER)
    if name is None:
        name = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:48].lstrip(".-") or "guard"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,47}", name):
        raise AuditError(
            f"{WRITER}: use up to 48 letters, digits, '.', '_' and '-', a letter or digit first"
        )
    return name
