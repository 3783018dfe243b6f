"""In front of every route: who shows no token learns nothing, not even which routes there are."""

import json
import logging
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

from guard.admin.errors import told
from guard.admin.tokens import Tokens

logger = logging.getLogger("guard.admin")

MOST_BYTES = 32 << 20  # of a request's body

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
_RAW = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]


class Gate:
    """Asks for a token, limits bodies, and keeps what went wrong inside.

    Args:
        app: What is served.
        tokens: Who may come in.
        open_paths: What anybody may get: the page, which holds no data, and that it lives.
    """

    def __init__(self, app: App, tokens: Tokens, open_paths: Collection[str]) -> None:
        self._app, self._tokens, self._open = app, tokens, frozenset(open_paths)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serves a connection, as ASGI has it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})

    async def _serve(self, scope: Message, receive: Receive, send: Send) -> None:
        begun = False

        async def sealed(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message["headers"] = [*message.get("headers", ()), *_RAW]
            await send(message)

        headers = [(name.lower(), value) for name, value in scope["headers"]]
        shown = [value for name, value in headers if name == b"authorization"]
        who = self._tokens.who(shown[0].decode("latin-1") if len(shown) == 1 else None)
        public = scope["method"] in ("GET", "HEAD") and scope["path"] in self._open
        if who is None and not public:
            await _answer(sealed, 401, told("Show a token.", "authentication_error"))
            return
        scope.setdefault("state", {})["who"] = who
        try:
            body = await _body(receive)
        except ValueError:
            more = f"The body has more than {MOST_BYTES >> 20} MiB."
            await _answer(sealed, 413, told(more, "invalid_request_error"))
            return
        if body is None:
            return
        try:
            await self._app(scope, _again(body, receive), sealed)
        except Exception as error:
            # Its text and its trace may hold what was sent: a name, a row, a prompt.
            logger.error("admin: a request failed (%s)", type(error).__name__)
            if not begun:
                await _answer(sealed, 500, told("This failed; see the log.", "server_error"))


async def _body(receive: Receive) -> bytes | None:
    """A request's body; None where the client went away."""
    held = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        held += message.get("body", b"")
        if len(held) > MOST_BYTES:
            raise ValueError
        if not message.get("more_body"):
            return bytes(held)


def _again(body: bytes, receive: Receive) -> Receive:
    """Gives a body that was read once more, and then whatever comes."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def _answer(send: Send, status: int, value: dict[str, Any]) -> None:
    raw = json.dumps(value).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(raw))]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": raw})
