"""`GET /guard/ready`: whether requests should be sent here; and the end of a server, gracefully.

An ASGI middleware behind the gate, which answers 503 in its place until the guard has been proved
live. ``/health`` stays vLLM's, but for a guard that cannot judge any more: that only a restart
mends. Each HTTP request that passes keeps to one version of the bundle, however often it asks the
engine.
"""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any

from guard.engine.served import kept
from guard.server.drain import Running

READY = "/guard/ready"
HEALTH = "/health"
_ALWAYS = (HEALTH, "/metrics")  # answered while a server ends

_Scope = MutableMapping[str, Any]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_App = Callable[[_Scope, Any, _Send], Awaitable[None]]


class Health:
    """Answers the route, refuses what comes while the server ends, and passes the rest on.

    Args:
        app: The server behind it.
    """

    def __init__(self, app: _App) -> None:
        self.app = app
        self.running = Running.from_environment()

    async def __call__(self, scope: _Scope, receive: Any, send: _Send) -> None:
        """Answers a request, refuses it, or passes it on."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", "")).rstrip("/")
        if scope["type"] == "http" and path == READY:
            await self._ready(scope, send)
        elif scope["type"] == "http" and path in _ALWAYS:
            if path == HEALTH and _hangs(scope):
                await _respond(send, 503, _error("The guard cannot judge any more."))
                return
            await self.app(scope, receive, send)
        elif not self.running.enter():
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1012})
                return
            await _respond(send, 503, _error("The server is ending: ask another."))
        else:
            if scope["type"] == "http":  # a websocket may live for hours
                kept.set({})
            try:
                await self.app(scope, receive, send)
            finally:
                self.running.leave()

    async def _ready(self, scope: _Scope, send: _Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            await _respond(send, 405, _error("Send a GET request.", 405))
            return
        frontend = _frontend(scope)
        reason = None
        if frontend is None:
            reason = "this server has no guard"
        elif self.running.draining:
            reason = "the server is ending"
        elif _hangs(scope):
            reason = "the guard cannot judge any more"
        if reason is not None:
            await _respond(send, 503, {"ready": False, "reason": reason})
            return
        served = frontend.served  # once: another may come into force
        since = datetime.fromtimestamp(served.since, UTC).isoformat(timespec="seconds")
        await _respond(send, 200, {"ready": True, "bundle": served.version, "since": since})


def _frontend(scope: _Scope) -> Any:
    state = getattr(scope.get("app"), "state", None)
    return getattr(getattr(state, "engine_client", None), "_guard_frontend", None)


def _hangs(scope: _Scope) -> bool:
    frontend = _frontend(scope)
    return frontend is not None and bool(frontend.worker.ended)


def _error(message: str, status: int = 503) -> dict[str, Any]:
    kind = "Service Unavailable" if status == 503 else "BadRequestError"
    return {"error": {"message": message, "type": kind, "param": None, "code": status}}


async def _respond(send: _Send, status: int, value: dict[str, Any]) -> None:
    body = json.dumps(value).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if status == 503:  # on another connection: the next one may lead to another server
        headers += [(b"retry-after", b"1"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
