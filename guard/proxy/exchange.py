"""One request to the server behind, and its answer: asked, gone on with, read, and left."""

import contextlib
import json
import logging
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from guard.errors import OutputError
from guard.proxy.counting import Counter
from guard.proxy.endings import Ending
from guard.proxy.enforcement import Edit
from guard.proxy.message import NO_KEY, Refused
from guard.proxy.schemas.base import Reading, Schema
from guard.proxy.sse import Event, events
from guard.proxy.texts import Asked
from guard.proxy.upstream import Upstream

logger = logging.getLogger("guard.proxy")

UNANSWERED = "The model server could not answer this request."
_MOST_BYTES = 64 << 20  # of a reply that is not streamed
_MOST_ERROR = 1 << 20


@dataclass(frozen=True)
class Read:
    """A request as it was read.

    Attributes:
        name: Its id.
        headers: The client's.
        schema: Its schema.
        body: Its fields, those that are dropped left out.
        asked: What it asks.
    """

    name: str
    headers: Mapping[str, str]
    schema: Schema
    body: dict[str, Any]
    asked: Asked


class Exchange:
    """Asks the server behind for one client.

    Args:
        upstream: The server.
        counter: Counts tokens.
        read: What the client asks.
        edit: What is done to it, if anything.

    Attributes:
        sent: What was sent.
        response: What came, once `begin` has returned; to be closed (`aclose`).
    """

    response: httpx.Response

    def __init__(self, upstream: Upstream, counter: Counter, read: Read, edit: Edit | None) -> None:
        self._upstream, self._counter, self._read = upstream, counter, read
        self._edit = edit
        self.sent = self._own = read.schema.prepared(read.body)
        if edit is not None and not edit.found:
            edited = read.schema.edited(self._own, edit, counter)
            sent = read.schema.without_logprobs(edited)
            self.sent = {**sent, "model": edit.model or sent["model"]}

    async def begin(self) -> None:
        """Sends the request, and waits until its answer begins.

        Raises:
            Refused: There is none.
        """
        self.response = await self._post(self.sent)
        if self.response.status_code == 200:
            return
        status = self.response.status_code
        edited = self._edit is not None and not self._edit.found
        if edited and 400 <= status < 500 and status not in (401, 403, 429):
            # What the server says of the edited request would tell of the edit: it is asked what it
            # says of the client's own. Where that is an answer, nothing of it is read.
            await self.aclose()
            self.response = await self._post(self._own)
            if self.response.status_code == 200:
                await self.aclose()
                logger.error("guard: request %s: refused upstream with its edits", self._read.name)
                raise Refused(UNANSWERED, 503)
        try:
            raise await self._error()
        finally:
            await self.aclose()

    async def whole(self, reading: Reading) -> dict[str, Any]:
        """Reads an answer that comes in one.

        Raises:
            Refused: It cannot be read.
        """
        try:
            while True:
                value = await self.value()
                made = await reading.whole(value)
                if reading.again is None:
                    return made
                await self._go_on(reading, reading.again)
        except Exception as error:
            self._unread(error)
            raise Refused(UNANSWERED, 502) from None
        finally:
            await self.aclose()

    async def pieces(self, reading: Reading) -> AsyncGenerator[bytes, None]:
        """Reads an answer that is streamed; what breaks off ends with an error."""
        try:
            while True:
                pieces = self._upstream.pieces(self.response)
                async with contextlib.aclosing(events(pieces)) as came:
                    async for event in came:
                        for told in await reading.event(event):
                            yield told.encode()
                        if reading.over or reading.again is not None:
                            break
                if reading.again is None:
                    break
                await self._go_on(reading, reading.again)
            for told in await reading.end():
                yield told.encode()
        except Exception as error:
            self._unread(error)
            for told in self._read.schema.broken(Refused(UNANSWERED, 502)):
                yield told.encode()

    async def value(self) -> dict[str, Any]:
        """An answer that comes in one, as it comes.

        Raises:
            OutputError: It is none.
        """
        value = json.loads(await self._all(_MOST_BYTES))
        if not isinstance(value, dict) or value.get("error"):
            raise OutputError("the upstream server's answer is none")
        return value

    async def events(self) -> list[Event]:
        """All events of an answer that is streamed, as they come.

        Raises:
            OutputError: They cannot be read.
        """
        pieces = self._upstream.pieces(self.response)
        async with contextlib.aclosing(events(pieces)) as came:
            return [event async for event in came]

    async def aclose(self) -> None:
        """Leaves the answer: the server stops writing what nobody reads."""
        await self.response.aclose()

    async def _post(self, body: dict[str, Any]) -> httpx.Response:
        found = frozenset[str]() if self._edit is None else self._edit.found
        return await self._upstream.post(self._read.schema.path, body, self._read.headers, found)

    async def _go_on(self, reading: Reading, ending: Ending) -> None:
        """Has an answer gone on with.

        Raises:
            OutputError: The server does not do it.
        """
        await self.aclose()
        # No template keeps a space at the end, and after one a word is cut into other tokens.
        left = reading.of(0).left.get(reading.checks.goes_on or "", "").rstrip()
        phrases = ending.again or ()
        body = self._read.schema.continued(self.sent, left, phrases, self._counter)
        names = ("bad_words", "logit_bias")
        banned: dict[str, Any] = {name: body[name] for name in names if name in body}
        self.sent = {**self.sent, **banned}  # for every further time
        self.response = await self._post(body)
        if self.response.status_code != 200:
            raise OutputError("the upstream server does not go on with an answer")
        reading.resume()

    async def _error(self) -> Refused:
        """What a client is told of an error: of its own doing, what the server says of it."""
        status = self.response.status_code
        retry = self.response.headers.get("retry-after", "")
        patience = int(retry) if retry.isdecimal() and len(retry) < 6 else None
        if status in (401, 403):
            if self._upstream.key is not None:  # the operator's: no client's doing
                logger.error("guard: the upstream server does not take the proxy's key")
                return Refused(UNANSWERED, 502)
            return Refused(NO_KEY, 401)  # in the words that whoever is not passed on gets
        if status == 429:
            return Refused("The model server is busy; try again.", 429, retry=patience)
        if not 400 <= status < 500:
            logger.error("guard: the upstream server answers with status %d", status)
            return Refused(UNANSWERED, 503 if status == 503 else 502, retry=patience)
        try:
            error = json.loads(await self._all(_MOST_ERROR))["error"]
            message, param = str(error["message"]), error.get("param")
        except (OutputError, ValueError, KeyError, TypeError, AttributeError):
            message, param = UNANSWERED, None
        return Refused(message, status, param if isinstance(param, str) else None)

    def _unread(self, error: Exception) -> None:
        # Not the message of an unknown error: it could quote the answer.
        known = type(error).__module__.startswith("guard.")
        reason = str(error) if known else type(error).__name__
        name = self._read.name
        logger.error("guard: request %s: its answer was not passed on (%s)", name, reason)

    async def _all(self, most: int) -> bytes:
        held = bytearray()
        async with contextlib.aclosing(self._upstream.pieces(self.response)) as pieces:
            async for piece in pieces:
                held += piece
                if len(held) > most:
                    raise OutputError("the upstream server's answer is too long to be checked")
        return bytes(held)
