"""The pipeline as an ASGI application."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from guard.proxy.fields import MOST_BYTES
from guard.proxy.message import Refused, Reply, Request
from guard.proxy.pipeline import Pipeline

_Message = MutableMapping[str, Any]
_Send = Callable[[_Message], Awaitable[None]]
_Receive = Callable[[], Awaitable[_Message]]

_PATIENCE = 60.0  # seconds that a body may take to come


class App:
    """Serves a pipeline over HTTP. A client that goes away takes its request upstream with it.

    Args:
        pipeline: The pipeline.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """Serves a connection, as ASGI has it."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1003})
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)

    async def _serve(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        headers = {name.decode("latin-1"): v.decode("latin-1") for name, v in scope["headers"]}
        came = asyncio.Event()

        async def read() -> bytes:
            try:
                return await _body(receive)
            finally:
                came.set()

        # The body is read by whoever serves it, once there is a place for the request.
        request = Request(scope["method"], scope["path"], headers, read=read)
        serving = asyncio.ensure_future(self._answer(request, send))
        gone = asyncio.ensure_future(_gone(came, receive))
        try:
            await asyncio.wait({serving, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            if not serving.done():
                serving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await serving

    async def _answer(self, request: Request, send: _Send) -> None:
        reply = await self.pipeline.handle(request)
        try:
            await _send(reply, send)
        finally:
            if reply.stream is not None:
                await asyncio.shield(asyncio.ensure_future(reply.stream.aclose()))

    async def _live(self, receive: _Receive, send: _Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.pipeline.upstream.aclose()
                await send({"type": "lifespan.shutdown.complete"})
                return


async def _body(receive: _Receive) -> bytes:
    held = bytearray()
    try:
        async with asyncio.timeout(_PATIENCE):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refused("The body broke off.")  # nobody is there to be told
                held += message.get("body", b"")
                if len(held) > MOST_BYTES:
                    raise Refused(f"The body has more than {MOST_BYTES >> 20} MiB.", 413)
                if not message.get("more_body"):
                    return bytes(held)
    except TimeoutError:
        raise Refused("The body did not come in time.", 408) from None


async def _gone(came: asyncio.Event, receive: _Receive) -> None:
    """Returns when the client has gone away; its body comes first, to whoever reads that."""
    await came.wait()
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send(reply: Reply, send: _Send) -> None:
    headers = [(name.encode("latin-1"), v.encode("latin-1")) for name, v in reply.headers.items()]
    if reply.stream is None:
        headers.append((b"content-length", b"%d" % len(reply.body)))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    if reply.stream is None:
        await send({"type": "http.response.body", "body": reply.body})
        return
    async for piece in reply.stream:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
