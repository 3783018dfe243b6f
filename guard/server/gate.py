"""Shut until the guard has been proved live from outside.

An ASGI middleware around vLLM's server. It is loaded by its own path, so it stands even if the
plugin does not: vLLM would go on serving without a plugin that it cannot import.
"""

import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from guard.engine.settings import start_key
from guard.engine.verdict import Seals, probing

PROBE_HEADER = b"x-guard-probe"
WHO_HEADER = b"x-guard-who"
OPEN_HEADER = b"x-guard-open"

_Scope = MutableMapping[str, Any]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_App = Callable[[_Scope, Any, _Send], Awaitable[None]]


class ReadyGate:
    """Answers 503 to everything but probes until it is opened with this start's secret.

    Args:
        app: The server behind it.
    """

    def __init__(self, app: _App) -> None:
        self.app = app
        self.seals = Seals(start_key())
        self.open = False

    async def __call__(self, scope: _Scope, receive: Any, send: _Send) -> None:
        """Passes a request on, or answers it here."""
        headers = dict(scope.get("headers", ()))
        if self._accepts(headers.get(WHO_HEADER), "who"):
            await _respond(send, 200, {"process": os.getpid()})
        elif scope["type"] == "lifespan" or self.open:
            await self.app(scope, receive, send)
        elif self._accepts(headers.get(OPEN_HEADER), "open"):
            self.open = True
            await _respond(send, 200, {"process": os.getpid()})
        elif self._accepts(headers.get(PROBE_HEADER), "gate"):
            probing.set(True)
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1013})
        else:
            error = {
                "message": "The server is starting: its guard is not proved to be live yet.",
                "type": "Service Unavailable",
                "param": None,
                "code": 503,
            }
            await _respond(send, 503, {"error": error})

    def _accepts(self, header: bytes | None, purpose: str) -> bool:
        return header is not None and self.seals.accepts(header.decode("latin-1"), purpose)


async def _respond(send: _Send, status: int, value: dict[str, Any]) -> None:
    body = json.dumps(value).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if status == 503:
        headers.append((b"retry-after", b"5"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
