"""The server behind: one pool of connections, stated patience, and what is passed on to it."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from guard.errors import EngineError, OutputError
from guard.handover import HEADER, RECEIPT, Handover
from guard.proxy.message import Refused

logger = logging.getLogger("guard.proxy")

_TRIES = 3  # of a connection; nothing has been sent then
_PAUSE = 0.2  # seconds before the second; twice as long before each further one
# Servers drop idle connections (uvicorn after 5 s): one that is about to go must not be used again,
# as what was sent on it cannot be sent twice.
_IDLE = 4.0
TRACE = ("traceparent", "tracestate")
_PASSED = ("x-request-id", "anthropic-version", *TRACE)
_SPARE = 16  # connections beyond those of the requests: for models and health
_CREDENTIALS = ("authorization", "x-api-key")
_TOLD = ("retry-after", "x-request-id")


@dataclass(frozen=True)
class Patience:
    """How long is waited, in seconds.

    Attributes:
        connect: For a connection.
        first: From sending a request to the first byte of its reply: of one that is not streamed
            all of it is written by then.
        between: Between two pieces of a reply.
    """

    connect: float = 5.0
    first: float = 600.0
    between: float = 60.0


class Upstream:
    """Asks the server behind.

    Args:
        url: Its address, with or without ``/v1``.
        key: What to show in place of clients' own keys.
        patience: How long to wait.
        most: How many requests are sent at once.
        passes: Whether clients' own keys are passed on where there is no key to show.
        handover: Signs what a guarded engine is told of; None where the server is none.
        transport: In place of the network, for tests.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        patience: Patience | None = None,
        most: int = 256,
        transport: httpx.AsyncBaseTransport | None = None,
        *,
        passes: bool = True,
        handover: Handover | None = None,
    ) -> None:
        self.url = url.rstrip("/").removesuffix("/v1")
        self.key, self._passes = key, passes
        self._handover = handover
        self.patience = patience or Patience()
        timeout = httpx.Timeout(None, connect=self.patience.connect, pool=self.patience.connect)
        limits = httpx.Limits(
            max_connections=most + _SPARE,
            max_keepalive_connections=most + _SPARE,
            keepalive_expiry=_IDLE,
        )
        self._client = httpx.AsyncClient(
            timeout=timeout, limits=limits, transport=transport, trust_env=False
        )

    async def get(
        self,
        path: str,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Asks for something that changes nothing; once more where it fails.

        Args:
            path: Where.
            headers: A client's.
            more: Headers of our own.

        Raises:
            Refused: There is no answer (HTTP 502 or 504).
        """
        sent = {**self._headers(headers or {}), **(more or {})}
        for last in (False, True):
            try:
                async with asyncio.timeout(self.patience.between):
                    return await self._client.get(f"{self.url}{path}", headers=sent)
            except TimeoutError:
                raise _late() from None
            except httpx.HTTPError as error:
                if last:
                    raise _gone(error) from None
        raise AssertionError

    async def post(
        self,
        path: str,
        body: Mapping[str, Any],
        headers: Mapping[str, str],
        found: Collection[str] = (),
    ) -> httpx.Response:
        """Sends a request once, and returns as soon as its reply begins.

        Args:
            path: Where to.
            body: JSON.
            headers: The client's.
            found: Targets that the server is told of, and has to heed.

        Raises:
            Refused: There is no reply (HTTP 502 or 504), or what was found was not heeded (503).
        """
        made = self._client.build_request(
            "POST", f"{self.url}{path}", json=body, headers=self._headers(headers)
        )
        if found:
            assert self._handover is not None  # or nothing would have been handed over
            made.headers[HEADER] = self._handover.sign(found, made.content)
        response = await self._sent(made)
        if found and not self._heeded(made.headers[HEADER], response):
            await response.aclose()
            logger.error("guard: the upstream server does not heed verdicts any more: refused")
            raise Refused("The model server could not answer this request.", 503, retry=5)
        return response

    async def heeds(self) -> bool:
        """Whether the server is a guarded engine with the key that verdicts are signed with."""
        if self._handover is None:
            return False
        header = self._handover.sign((), b"")
        try:
            return self._heeded(header, await self.get("/v1/models", more={HEADER: header}))
        except Refused:
            return False

    def _heeded(self, header: str, response: httpx.Response) -> bool:
        receipt = response.headers.get(RECEIPT)
        return self._handover is not None and self._handover.heeded(header, receipt)

    async def _sent(self, made: httpx.Request) -> httpx.Response:
        for attempt in range(1, _TRIES + 1):
            try:
                async with asyncio.timeout(self.patience.first):
                    return await self._client.send(made, stream=True)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                if attempt == _TRIES:
                    raise _gone(error) from None
                await asyncio.sleep(_PAUSE * 2 ** (attempt - 1))
            except TimeoutError:
                raise _late() from None
            except httpx.PoolTimeout:
                raise Refused("The server is busy; try again.", 503, retry=1) from None
            except httpx.HTTPError as error:
                raise _gone(error) from None
        raise AssertionError

    async def pieces(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        """The pieces of a reply.

        Raises:
            OutputError: It breaks off, or the next one takes too long.
        """
        pieces = response.aiter_bytes()
        # A server may send its headers before it has begun to work on the answer.
        patience = self.patience.first
        while True:
            try:
                async with asyncio.timeout(patience):
                    piece = await anext(pieces)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise OutputError("the upstream server fell silent") from None
            except httpx.HTTPError as error:
                reason = type(error).__name__
                raise OutputError(f"the upstream server broke off ({reason})") from None
            patience = self.patience.between
            yield piece

    async def models(self, headers: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        """The models that it lists.

        Raises:
            EngineError: It cannot be reached, or lists none.
        """
        try:
            response = await self.get("/v1/models", headers)
        except Refused:
            raise EngineError(f"{self.url}: cannot be reached; is the server up?") from None
        if response.status_code in (401, 403):
            raise EngineError(f"{self.url}: wants a key; set GUARD_UPSTREAM_KEY")
        try:
            found = response.json()["data"]
            if response.status_code == 200 and all(isinstance(one["id"], str) for one in found):
                return list(found)
        except (ValueError, KeyError, TypeError):
            pass
        raise EngineError(f"{self.url}/v1/models: lists no models; is it OpenAI-compatible?")

    async def aclose(self) -> None:
        """Closes all connections."""
        await self._client.aclose()

    def _headers(self, client: Mapping[str, str]) -> dict[str, str]:
        # What comes back is read here: nothing is gained by having it compressed.
        passed = {name: client[name] for name in _PASSED if name in client}
        if self.key is not None:
            passed["authorization"] = f"Bearer {self.key}"
        elif self._passes:
            passed |= {name: client[name] for name in _CREDENTIALS if name in client}
        return {**passed, "accept-encoding": "identity"}


def told_headers(response: httpx.Response) -> dict[str, str]:
    """What of a reply's headers a client is told."""
    return {name: response.headers[name] for name in _TOLD if name in response.headers}


def _gone(error: Exception) -> Refused:
    logger.error("guard: the upstream server cannot be asked: %s", type(error).__name__)
    return Refused("The model server cannot be reached.", 502, retry=5)


def _late() -> Refused:
    logger.error("guard: the upstream server did not answer in time")
    return Refused("The model server did not answer in time.", 504)
