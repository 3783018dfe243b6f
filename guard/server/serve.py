"""`guard serve`: starts vLLM's server guarded, proves it, and stays with it until it ends."""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import Any

from guard.audit.settings import FOLDER, audit_settings
from guard.batching import THREADS
from guard.bundle import Bundle, load_bundle
from guard.engine import settings
from guard.engine.compat import check_version
from guard.errors import EngineError
from guard.models import resolve
from guard.reload import reload_seconds
from guard.server import drain
from guard.server.child import REPORT
from guard.server.probe import Address, Prover

Report = Callable[[str], None]


def serve(
    model: str,
    bundle_path: Path,
    flags: Sequence[str],
    report: Report,
    audit: Path | None = None,
) -> int:
    """Serves a model guarded by a bundle; returns the server's exit status.

    Args:
        model: A model's name or folder, or a built-in.
        bundle_path: The bundle.
        flags: Any flags of ``vllm serve``.
        report: Is told what is going on, a line at a time.
        audit: Where decisions are recorded; as the environment says without.

    Raises:
        GuardError: It cannot start guarded; then it does not run at all.
    """
    check_version()
    bundle = load_bundle(bundle_path)
    reload_seconds()  # a wrong value is known before anything starts
    key = secrets.token_hex(32)
    # A symlink stays one: it may be switched to another version.
    environment = _environment(bundle_path.absolute(), bundle.version, key)
    if (audited := audit_settings(audit)) is not None:
        audited.check()
        environment[FOLDER] = str(audited.folder)
        report(f"decisions are recorded in {audited.folder}")
    folder = resolve(model)
    named = [] if _gives(flags, "--served-model-name") else ["--served-model-name", model]
    report(f"starting vLLM with {model}, guarded by bundle {bundle.version}")
    if settings.evaluation_token() is not None:
        report(f"evaluation mode: who knows {settings.EVALUATION} may score answers")
    with closing(drain.Drain()) as draining:
        environment[drain.FOLDER] = str(draining.folder)
        command = [sys.executable, "-m", "guard.server.child", folder, *named, *flags]
        return _run(command, environment, bundle, bytes.fromhex(key), draining, report)


def _run(
    command: Sequence[str],
    environment: dict[str, str],
    bundle: Bundle,
    key: bytes,
    draining: drain.Drain,
    report: Report,
) -> int:
    """Stays with the server from its start to its end; returns its exit status."""
    reading, writing = os.pipe()
    environment[REPORT] = str(writing)
    child = subprocess.Popen(
        command,
        env=environment,
        pass_fds=(writing,),
        start_new_session=True,  # so that the whole of vLLM can be ended together
    )
    os.close(writing)
    _on_signals(_stop)
    try:
        with os.fdopen(reading, encoding="utf-8") as pipe:
            said = pipe.read()
        if not said:  # it ended: vLLM has said why
            return _status(child.wait()) or 1
        server = json.loads(said)
        prover = Prover(bundle, key, Address.of(server))
        while not prover.listening():
            if child.poll() is not None:
                return _status(child.returncode) or 1
            time.sleep(0.25)
        prover.prove_and_open()
        targets = len(prover.bundle.manifest.live)
        where = prover.address.uds or prover.address.url
        asked: list[int] = []
        _on_signals(lambda number, _: asked.append(number))
        report(f"ready: {where} is guarded: {targets} targets, proved live")
        while child.poll() is None and not asked:
            time.sleep(0.1)
        if asked:
            report(f"ending: requests that run have {server['drain']} s")
            # A second signal is impatience.
            done = draining(server["drain"], lambda: len(asked) > 1 or child.poll() is not None)
            report("every request has ended" if done else "requests that still run are cut off")
            _on_signals(lambda number, _: child.send_signal(number))
            child.send_signal(asked[0])  # vLLM ends as it knows best
        return _status(child.wait())
    finally:
        _end(child)


def _environment(bundle: Path, version: str, key: str) -> dict[str, str]:
    environment = {
        **os.environ,
        settings.BUNDLE: str(bundle),
        settings.VERSION: version,
        settings.KEY: key,
    }
    # The cores are the engine's: the encoder takes one of eight, unless told otherwise.
    environment.setdefault(THREADS, str(max((os.cpu_count() or 1) // 8, 1)))
    if environment.get("VLLM_USE_RUST_FRONTEND", "0").lower() not in ("", "0", "false"):
        raise EngineError("VLLM_USE_RUST_FRONTEND leaves the guard out; unset it")
    if environment.get("VLLM_SERVER_DEV_MODE", "0").lower() not in ("", "0", "false"):
        raise EngineError("VLLM_SERVER_DEV_MODE lets clients change the model; unset it")
    plugins = environment.get("VLLM_PLUGINS")
    if plugins is not None and "guard" not in plugins.split(","):
        environment["VLLM_PLUGINS"] = ",".join([*filter(None, plugins.split(",")), "guard"])
    return environment


def _gives(flags: Sequence[str], name: str) -> bool:
    underscored = name.replace("-", "_").replace("__", "--", 1)
    return any(flag.split("=")[0] in (name, underscored) for flag in flags)


def _on_signals(handler: Callable[[int, FrameType | None], None]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handler)


def _stop(number: int, _: FrameType | None) -> None:
    """Ends what is under way; while vLLM starts, it swallows a signal that is handed on to it."""
    sys.exit(128 + number)


def _status(code: int) -> int:
    """An exit status of a child that a signal ended, as shells give it."""
    return 128 - code if code < 0 else code


def _end(child: Any) -> None:
    """Ends what is left of the child and of all that it started, undisturbed."""
    _on_signals(lambda number, _: None)
    for number, patience in ((signal.SIGTERM, 15.0), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            child.poll()
            try:
                os.killpg(child.pid, 0)
            except ProcessLookupError:
                return
            time.sleep(0.1)
