"""One record in the audit, by a process that writes no chain of its own all the time."""

import os
import time
from collections.abc import Mapping
from typing import Any

from guard.audit.chain import Chain
from guard.audit.settings import AuditSettings
from guard.errors import AuditError


def record(settings: AuditSettings, kind: str, body: Mapping[str, Any]) -> None:
    """Writes a record; it is on disk when this returns.

    Args:
        settings: Of the audit.
        kind: What it tells.
        body: The rest; JSON.

    Raises:
        AuditError: It cannot be recorded: what it tells must not happen.
    """
    now = time.time()
    start = (now, "start", {"role": "command", "pid": os.getpid()})
    chain = Chain.open(settings.folder, settings.writer, settings.sealer, start)
    try:
        chain.close([(now, kind, body), (time.time(), "stop", {})])
    except OSError as error:
        raise AuditError(f"{chain.path}: the audit cannot be written: {error.strerror}") from None
