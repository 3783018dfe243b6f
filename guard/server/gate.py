"""Shut until the guard has been proved live from outside; after that, open to known routes only.

An ASGI middleware around vLLM's server. It is loaded by its own path, so it stands even if the
plugin does not: vLLM would go on serving without a plugin that it cannot import.
"""

import json
import os
from collections.abc import Awaitable, Callable, Collection, MutableMapping, Sequence
from typing import Any

from guard.engine.settings import start_key
from guard.engine.verdict import Seals, probing
from guard.errors import EngineError
from guard.handover import handover
from guard.server import routes
from guard.server.heeding import heeded
from guard.tenants import Caller, caller

PROBE_HEADER = b"x-guard-probe"
WHO_HEADER = b"x-guard-who"
OPEN_HEADER = b"x-guard-open"

STARTING = "The server is starting: its guard is not proved to be live yet."
_TYPES = {404: "NotFoundError", 405: "MethodNotAllowedError", 503: "Service Unavailable"}

_Scope = MutableMapping[str, Any]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_App = Callable[[_Scope, Any, _Send], Awaitable[None]]


class ReadyGate:
    """Answers 503 to everything but probes until it is opened with this start's secret.

    What is not in the table of routes it never passes on, open or not.

    Args:
        app: The server behind it.
    """

    def __init__(self, app: _App) -> None:
        self.app = app
        self.seals = Seals(start_key())
        self.open = False
        self.handover = handover(EngineError)

    async def __call__(self, scope: _Scope, receive: Any, send: _Send) -> None:
        """Passes a request on, or answers it here."""
        headers = dict(scope.get("headers", ()))
        if self._accepts(headers.get(WHO_HEADER), "who"):
            await _respond(send, 200, {"process": os.getpid()})
        elif scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif self.open:
            await self._pass(scope, receive, send)
        elif self._accepts(headers.get(OPEN_HEADER), "open"):
            self.open = True
            await _respond(send, 200, {"process": os.getpid()})
        elif self._accepts(headers.get(PROBE_HEADER), "gate"):
            probing.set(True)
            await self._pass(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1013})
        else:
            await _refuse(send, 503, STARTING)

    async def _pass(self, scope: _Scope, receive: Any, send: _Send) -> None:
        """Passes a request on, if there is such a route."""
        known = routes.refused(scope)
        if known is None:
            if self.handover is not None and scope["type"] == "http":
                receive, send = await heeded(self.handover, scope, receive, send)
            # Whose key it shows: of what a client sends, nothing else says whose tenant it is.
            caller.set(Caller.of_headers(scope.get("headers", ())))
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif known:
            await _refuse(send, 405, "This route has no such method.", allow=known)
        else:
            await _refuse(send, 404, "There is no such route on this server.")

    def _accepts(self, header: bytes | None, purpose: str) -> bool:
        return header is not None and self.seals.accepts(header.decode("latin-1"), purpose)


async def _refuse(send: _Send, status: int, message: str, *, allow: Collection[str] = ()) -> None:
    """Answers an error in OpenAI's schema: the same to everybody, whatever was asked."""
    headers = {503: [(b"retry-after", b"5")]}.get(status, [])
    if allow:
        headers = [(b"allow", ", ".join(sorted(allow)).encode())]
    error = {"message": message, "type": _TYPES[status], "param": None, "code": status}
    await _respond(send, status, {"error": error}, headers)


async def _respond(
    send: _Send, status: int, value: dict[str, Any], more: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    body = json.dumps(value).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *more]})
    await send({"type": "http.response.body", "body": body})
