"""What the routes work with."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import httpx
from fastapi import Depends, Request

from guard.admin.asking import Pair
from guard.admin.feed import Feed
from guard.admin.held import Held
from guard.admin.writer import Writer
from guard.audit.settings import AuditSettings


@dataclass(frozen=True)
class Services:
    """What the routes work with.

    Attributes:
        held: The bundle.
        writer: Changes it.
        policy: Where targets that may be added are described.
        client: Asks other servers.
        audit: Where the audit is, if there is one.
        feed: What it tells.
        leakage: The latest result of the leakage benchmark, if one is given.
        pair: The two servers that are asked side by side, if they are given.
        endpoints: Addresses of servers that serve the bundle.
        posted: Of targets that were posted to this process, what tells them from others.
    """

    held: Held
    writer: Writer
    policy: Path
    client: httpx.AsyncClient
    audit: AuditSettings | None = None
    feed: Feed | None = None
    leakage: Path | None = None
    pair: Pair | None = None
    endpoints: Sequence[str] = ()
    posted: dict[str, str] = field(default_factory=dict)


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


def _who(request: Request) -> str:
    who: str = request.state.who
    return who


Given = Annotated[Services, Depends(_services)]
Who = Annotated[str, Depends(_who)]
