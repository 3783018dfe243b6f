"""`guard admin`: what must hold before the first request, and then a server."""

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from guard.admin.app import create_app
from guard.admin.asking import Pair, Server
from guard.admin.feed import Feed
from guard.admin.gate import Gate
from guard.admin.held import Held
from guard.admin.services import Services
from guard.admin.tokens import Tokens, read_tokens
from guard.admin.writer import PATIENCE, Writer
from guard.audit.leakage import read_leakage
from guard.audit.settings import audit_settings
from guard.bundle import check_out
from guard.errors import GuardError
from guard.policy import load_policy

GUARDED_KEY = "GUARD_GUARDED_KEY"
UNGUARDED_KEY = "GUARD_UNGUARDED_KEY"

_TIMEOUT = httpx.Timeout(120.0, connect=5.0)

Report = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """What an operator says.

    Attributes:
        bundle: The bundle's folder, which is changed in place.
        policy: Where targets that may be added are described.
        audit: The audit; where the environment says, without.
        endpoints: Addresses of servers that serve the bundle.
        guarded: A guarded server to ask.
        unguarded: One without a guard, to ask beside it.
        leakage: The latest result of the leakage benchmark.
        patience: Seconds that a change waits for another one.
    """

    bundle: Path
    policy: Path
    audit: Path | None = None
    endpoints: Sequence[str] = ()
    guarded: str | None = None
    unguarded: str | None = None
    leakage: Path | None = None
    patience: float = PATIENCE


def prepare(
    settings: Settings,
    tokens: Tokens,
    report: Report = lambda line: None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> Gate:
    """Settles everything, and returns what serves it.

    Args:
        settings: What the operator says.
        tokens: Who may use it.
        report: Is told what there is, a line at a time.
        transport: In place of the network, for tests.

    Raises:
        GuardError: Something does not hold; names it and its mend.
    """
    check_out(settings.bundle)
    held = Held(settings.bundle)
    load_policy(settings.policy)
    if settings.leakage is not None:
        read_leakage(settings.leakage)
    if (settings.guarded is None) != (settings.unguarded is None):
        raise GuardError("--guarded and --unguarded go together; give both, or neither")
    pair = None
    if settings.guarded is not None and settings.unguarded is not None:
        pair = Pair(
            Server(_url("--guarded", settings.guarded), os.environ.get(GUARDED_KEY) or None),
            Server(_url("--unguarded", settings.unguarded), os.environ.get(UNGUARDED_KEY) or None),
        )
    audit = audit_settings(settings.audit)
    if audit is not None:
        audit.check()
        report(f"changes are recorded in {audit.folder}")
    else:
        report("there is no audit: nobody will know who changed what; give --audit FOLDER")
    services = Services(
        held,
        Writer(settings.bundle, settings.audit, settings.patience),
        settings.policy,
        httpx.AsyncClient(timeout=_TIMEOUT, transport=transport, trust_env=False),
        audit,
        Feed(audit.folder) if audit is not None else None,
        settings.leakage,
        pair,
        [_url("--endpoint", url) for url in settings.endpoints],
    )
    return create_app(services, tokens)


def serve(settings: Settings, who: str | None, host: str, port: int, report: Report) -> int:
    """Serves until it is ended; returns the exit status.

    Raises:
        GuardError: It cannot start.
    """
    import uvicorn

    logging.basicConfig(format="%(levelname)s %(message)s")
    logging.getLogger("guard.admin").setLevel(logging.INFO)
    app = prepare(settings, read_tokens(who), report)
    report(f"ready: http://{host}:{port}/guard/ changes {settings.bundle}")
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        server_header=False,
    )
    server = uvicorn.Server(config)
    server.run()
    return 0 if server.started else 1


def _url(flag: str, given: str) -> str:
    url = httpx.URL(given) if given.startswith(("http://", "https://")) else None
    if url is None or not url.host or url.query or url.userinfo:
        raise GuardError(f"{flag}: give an http:// or https:// address, without keys in it")
    return given.rstrip("/").removesuffix("/v1")
