"""Changes of a bundle in the audit: who changed which target, from which version to which.

Two records surround a change: `begun` is on disk before anything happens, and the change is not
made where it cannot be written; behind it comes what was changed, or that it was given up. A kill
in between leaves a `begun` alone.
"""

import getpass
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from guard.audit.chain import Chain, Item
from guard.audit.settings import WHO, audit_settings
from guard.bundle import Bundle, load_bundle
from guard.errors import AuditError, BundleError
from guard.events import Changed, body
from guard.manifest import TargetRecord
from guard.versions import alone

Note = Callable[[Bundle], None]


@contextmanager
def recorded(
    folder: Path | None,
    command: str,
    before: Path,
    out: Path | None = None,
    by: str | None = None,
) -> Iterator[Note]:
    """Records a change of a bundle, in the audit that is given or that the environment names.

    Args:
        folder: The audit, if one was given.
        command: What changes it.
        before: The bundle before the change; there may be none yet.
        out: The folder that is made, where it is another one.
        by: Who changes it; this process's user without.

    Yields:
        What is to be told of the bundle after the change.

    Raises:
        AuditError: The audit cannot be written: nothing is changed then, or the message says that
            it was.
    """
    settings = audit_settings(folder)
    if settings is None:
        yield lambda bundle: None
        return
    with alone(before, out):
        old = _loaded(before)
        told = {"command": command, "who": by or who(), "before": old.version if old else None}
        begun: Item = (time.time(), "begun", told)
        start: Item = (time.time(), "start", {"role": "command", "pid": os.getpid()})
        chain = Chain.open(settings.folder, settings.writer, settings.sealer, start)
        done: list[Item] = []
        try:
            _append(chain, [begun])
        except BaseException:
            chain.abandon()
            raise
        try:
            yield lambda bundle: done.extend(_items(command, old, bundle, by))
        except BaseException as error:
            # Some commands make two versions: what was to stand in for a target may be there.
            left = _loaded(out or before)
            if left is not None and (old is None or left.version != old.version):
                done = _items(command, old, left, by)
            done.append((time.time(), "abandoned", {"error": type(error).__name__, **told}))
            raise
        finally:
            now = time.time()
            done = done or [(now, "unchanged", told)]
            anchored = [(now, "anchor", heads)] if (heads := chain.anchor()) else []
            try:
                chain.close([*done, *anchored, (now, "stop", {})])
            except OSError as error:
                raise AuditError(
                    f"{chain.path}: the change was made, but the audit could not be written: "
                    f"{error.strerror}"
                ) from None


def differences(
    command: str, before: Bundle | None, after: Bundle, by: str | None = None
) -> list[Changed]:
    """Returns what became of each target from one version of a bundle to another.

    Args:
        command: What made it.
        before: The version before; None where there was none.
        after: The version after.
        by: Who did it; this process's user without.
    """
    old = {} if before is None else {one.id: one for one in before.manifest.targets}
    new = {one.id: one for one in after.manifest.targets}
    by = by or who()
    changes = []
    version = before.version if before else None
    if (before.manifest.tenants if before else []) != after.manifest.tenants:
        changes.append(Changed(by, command, "tenants", "", "", None, None, version, after.version))
    for target in sorted(old.keys() | new.keys()):
        was, now = old.get(target), new.get(target)
        what = _what(was, now)
        if what is None:
            continue
        held = now or was
        changes.append(
            Changed(
                by, command, what, target, held.reason if held else "",
                now.mode if now else None, was.mode if was else None,
                version, after.version,
            )
        )  # fmt: skip
    return changes


def who() -> str:
    """Returns who changes things: ``GUARD_AUDIT_WHO``, or this process's user and machine."""
    if given := os.environ.get(WHO):
        return given
    try:
        user = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())  # no such user on this machine, as in containers
    return f"{user}@{socket.gethostname()}"


def _what(was: TargetRecord | None, now: TargetRecord | None) -> str | None:
    if was is None or now is None:
        return "added" if was is None else "removed"
    if was == now:
        return None
    if was.mode != now.mode:
        return "mode"
    if _for_everybody(was) == _for_everybody(now):
        return "tenants"
    return "calibrated" if _without_thresholds(was) == _without_thresholds(now) else "refitted"


def _without_thresholds(target: TargetRecord) -> TargetRecord:
    """A target's record without what calibrating it anew changes."""
    plain: dict[str, Any] = {"threshold": None, "sure": None, "calibration": None, "scores": {}}
    stages = [stage.model_copy(update=plain) for stage in target.stages]
    update = {"stages": stages, "detection": {}, "positives": [], "negatives": []}
    return target.model_copy(update=update)


def _for_everybody(target: TargetRecord) -> TargetRecord:
    """A target's record without what is otherwise for tenants."""
    return target.model_copy(update={"tenants": None, "per_tenant": {}})


def _items(command: str, before: Bundle | None, after: Bundle, by: str | None) -> list[Item]:
    return [(one.time, "changed", body(one)) for one in differences(command, before, after, by)]


def _append(chain: Chain, items: list[Item]) -> None:
    try:
        chain.append(items)
    except OSError as error:
        raise AuditError(
            f"{chain.path}: the audit cannot be written, so nothing was changed: {error.strerror}"
        ) from None


def _loaded(folder: Path) -> Bundle | None:
    try:
        return load_bundle(folder) if folder.exists() else None
    except (BundleError, OSError):
        return None  # whatever changes it says what is wrong
