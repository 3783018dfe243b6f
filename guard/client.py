"""The `openai` client, guarded in its own process: for a server that is somebody else's.

What a client sends goes through the proxy's pipeline before it leaves the process, and what comes
back is read there too. It sits in the client's transport, so every method of it passes.
"""

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote

import openai

from guard.errors import EngineError
from guard.guard import Guard
from guard.proxy.message import Reply, Request, Stream
from guard.proxy.pipeline import Pipeline
from guard.proxy.start import Settings, prepare
from guard.recorder import Recorder

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")
_Begin = Callable[[], Awaitable[Pipeline]]

# The library that openai is built on: httpx, or httpx2 in later versions.
_http: Any = import_module(openai.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0])


class GuardedClient(openai.OpenAI):
    """An `openai.OpenAI` whose every request passes the guard.

    Args:
        base_url: The server's address, as the `openai` client takes it.
        guard: The guard, or the folder of a bundle.
        settings: What `guard proxy` takes as options; its address and bundle do not count.
        upstream: In place of the network, for tests.
        **kwargs: What `openai.OpenAI` takes, but ``http_client``.

    Raises:
        GuardError: The server is not there, or a target could not be kept.

    Example:
        >>> client = GuardedClient("http://localhost:8000/v1", guard="bundle/")
        >>> client.chat.completions.create(model="…", messages=[…])
    """

    def __init__(
        self,
        base_url: Any = None,
        *,
        guard: Guard | str | Path | None = None,
        settings: Settings | None = None,
        upstream: "httpx.AsyncBaseTransport | None" = None,
        **kwargs: Any,
    ) -> None:
        if not _is_copied(kwargs.get("http_client"), _Transport):
            kwargs["api_key"] = _key(kwargs.get("api_key"))
            begin = _begin(base_url, guard, settings, upstream, kwargs)
            kwargs["http_client"] = openai.DefaultHttpxClient(transport=_Transport(begin))
        super().__init__(base_url=base_url, **kwargs)


class AsyncGuardedClient(openai.AsyncOpenAI):
    """An `openai.AsyncOpenAI` whose every request passes the guard; see `GuardedClient`.

    The server is looked at, and the targets are settled, with the first request.
    """

    def __init__(
        self,
        base_url: Any = None,
        *,
        guard: Guard | str | Path | None = None,
        settings: Settings | None = None,
        upstream: "httpx.AsyncBaseTransport | None" = None,
        **kwargs: Any,
    ) -> None:
        if not _is_copied(kwargs.get("http_client"), _AsyncTransport):
            kwargs["api_key"] = _key(kwargs.get("api_key"))
            begin = _begin(base_url, guard, settings, upstream, kwargs)
            transport = _AsyncTransport(begin)
            kwargs["http_client"] = openai.DefaultAsyncHttpxClient(transport=transport)
        super().__init__(base_url=base_url, **kwargs)


class _AsyncTransport(_http.AsyncBaseTransport):
    """Serves an asynchronous client's requests in the client's own event loop."""

    def __init__(self, begin: _Begin) -> None:
        self._begin = begin
        self._pipeline: Pipeline | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = asyncio.Lock()

    async def handle_async_request(self, request: Any) -> Any:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # connections do not outlive the loop that they were made in
            self._loop, self._lock, self._pipeline = loop, asyncio.Lock(), None
        async with self._lock:
            if self._pipeline is None:
                self._pipeline = await self._begin()
        patience = _patience(request)
        made = _request(request, self._pipeline, await request.aread())
        reply = await _in_time(self._pipeline.handle(made), patience)
        if reply.stream is None:
            return _http.Response(reply.status, headers=reply.headers, content=reply.body)
        stream = _AsyncPieces(reply.stream, patience)
        return _http.Response(reply.status, headers=reply.headers, stream=stream)

    async def aclose(self) -> None:
        if self._pipeline is not None:
            await self._pipeline.upstream.aclose()


class _AsyncPieces(_http.AsyncByteStream):
    def __init__(self, stream: Stream, patience: float | None) -> None:
        self._stream, self._patience = stream, patience

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            try:
                yield await _in_time(anext(self._stream), self._patience)
            except StopAsyncIteration:
                return

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Transport(_http.BaseTransport):
    """Serves a client's requests in an event loop of its own, in a thread."""

    def __init__(self, begin: _Begin) -> None:
        self._loop = asyncio.new_event_loop()
        thread = threading.Thread(target=self._loop.run_forever, name="guard-client", daemon=True)
        thread.start()
        try:
            self._pipeline = self.run(_awaited(begin))
        except BaseException:
            self._loop.call_soon_threadsafe(self._loop.stop)
            raise

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs something in the loop, and waits for it."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def handle_request(self, request: Any) -> Any:
        patience = _patience(request)
        made = _request(request, self._pipeline, request.read())
        reply: Reply = self.run(_in_time(self._pipeline.handle(made), patience))
        if reply.stream is None:
            return _http.Response(reply.status, headers=reply.headers, content=reply.body)
        stream = _Pieces(self, reply.stream, patience)
        return _http.Response(reply.status, headers=reply.headers, stream=stream)

    def close(self) -> None:
        if not self._loop.is_running():
            return
        with contextlib.suppress(Exception):
            self.run(self._pipeline.upstream.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)


class _Pieces(_http.SyncByteStream):
    def __init__(self, transport: _Transport, stream: Stream, patience: float | None) -> None:
        self._transport, self._stream, self._patience = transport, stream, patience

    def __iter__(self) -> Iterator[bytes]:
        while (piece := self._transport.run(self._next())) is not None:
            yield piece

    async def _next(self) -> bytes | None:
        try:
            return await _in_time(anext(self._stream), self._patience)
        except StopAsyncIteration:  # no future can carry one
            return None

    def close(self) -> None:
        self._transport.run(self._stream.aclose())


def _begin(
    base_url: Any,
    guard: Guard | str | Path | None,
    settings: Settings | None,
    upstream: "httpx.AsyncBaseTransport | None",
    kwargs: dict[str, Any],
) -> _Begin:
    if kwargs.get("http_client") is not None:
        raise EngineError("http_client: the guard sits there; leave it out")
    if guard is None or base_url is None:
        raise EngineError("give the server's address, and a guard or the folder of a bundle")
    loaded = guard if isinstance(guard, Guard) else Guard.load(guard)
    url, folder, key = str(base_url), loaded.bundle.path, str(kwargs["api_key"])
    said = settings or Settings(url, folder)
    # Clients' own headers go along: the key is for what is asked at the start.
    said = replace(said, upstream=url, bundle=folder, key=key, own=None, pass_keys=True)
    recorder = Recorder.from_environment("client")
    return lambda: prepare(said, guard=loaded, transport=upstream, recorder=recorder)


def _key(given: Any) -> Any:
    """The key to show: a server of one's own wants none, but the `openai` client does."""
    return given if given is not None else os.environ.get("OPENAI_API_KEY") or "none"


def _is_copied(client: Any, kind: type) -> bool:
    """Whether a client comes from a guarded one (`with_options`)."""
    return client is not None and isinstance(getattr(client, "_transport", None), kind)


def _request(request: Any, pipeline: Pipeline, body: bytes) -> Request:
    url = str(request.url).partition("?")[0]
    start = pipeline.upstream.url
    if not url.startswith(f"{start}/"):
        raise EngineError(f"{url}: this client is guarded for {start} only")
    headers = {name.lower(): value for name, value in request.headers.items()}
    return Request(request.method, unquote(url[len(start) :]), headers, body)


def _patience(request: Any) -> float | None:
    """How long the client would wait for what comes next, in seconds."""
    wait = (request.extensions.get("timeout") or {}).get("read")
    return float(wait) if wait is not None else None


async def _in_time(work: Awaitable[T], patience: float | None) -> T:
    try:
        async with asyncio.timeout(patience):
            return await work
    except TimeoutError:
        raise _http.ReadTimeout("the server did not answer in time") from None


async def _awaited(begin: _Begin) -> Pipeline:
    return await begin()
