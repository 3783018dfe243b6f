"""One way through: a request is read, judged, edited and sent on, and its answer is read.

The proxy's server and the clients' transports differ only in how they come by a request.
"""

import contextlib
import hmac
import json
import logging
import re
import uuid
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from guard.engine.worker import Worker
from guard.errors import OutputError
from guard.proxy.checks import Checks, Ending
from guard.proxy.counting import Counter
from guard.proxy.enforcement import Edit, Enforcement
from guard.proxy.fields import read_body
from guard.proxy.judging import Judge
from guard.proxy.message import JSON, Refused, Reply, Request, Stream
from guard.proxy.models import Catalogue
from guard.proxy.routes import Routes
from guard.proxy.schemas.base import Reading, Schema, Told
from guard.proxy.schemas.common import added_text
from guard.proxy.sse import events
from guard.proxy.texts import Asked
from guard.proxy.upstream import Upstream, told_headers

logger = logging.getLogger("guard.proxy")

UNANSWERED = "The model server could not answer this request."
_MOST_BYTES = 64 << 20  # of a reply that is not streamed
_MOST_ERROR = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9._-]{1,128}")


@dataclass(frozen=True)
class _Asked:
    """A request on its way: as the client sent it, and as it was read."""

    name: str
    headers: Mapping[str, str]
    schema: Schema
    body: dict[str, Any]
    asked: Asked


class Pipeline:
    """Serves requests.

    Args:
        enforcement: How what was decided is told over HTTP.
        upstream: The server behind.
        catalogue: The models that clients may use.
        routes: What is served.
        counter: Counts tokens.
        key: What clients must show; None where the server behind asks them itself.
        most: How many requests are served at once.
        goes_on: Whether the server can be asked to go on with an answer that has begun.
    """

    def __init__(
        self,
        enforcement: Enforcement,
        upstream: Upstream,
        catalogue: Catalogue,
        routes: Routes,
        counter: Counter,
        key: str | None = None,
        most: int = 256,
        *,
        goes_on: bool = False,
    ) -> None:
        self.guard = enforcement.guard
        self.enforcement, self.upstream, self.counter = enforcement, upstream, counter
        self.catalogue, self.routes = catalogue, routes
        self.worker = Worker(self.guard.bundle.manifest.timeout)
        self.judge = Judge(enforcement, self.worker)
        self._key, self._most, self._active = key, most, 0
        self._goes_on = goes_on
        rules = self.guard.output.rules.values()
        self._reads = any(rule.mode == "enforce" for rule in rules)

    async def handle(self, request: Request) -> Reply:
        """Serves a request; every error becomes a reply."""
        given = request.headers.get("x-request-id", "")
        name = given if _NAME.fullmatch(given) else uuid.uuid4().hex
        schema = self.routes.schema(request.path)
        try:
            reply = await self._counted(request, name)
        except Refused as refused:
            body = schema.error(refused) if schema else refused.openai()
            reply = Reply.of(body, refused.status)
            reply.headers.update(refused.headers)
        except Exception as error:  # not its message, which could quote a prompt
            logger.error("guard: request %s failed: %s", name, type(error).__name__)
            failed = Refused("This request could not be served.", 500)
            reply = Reply.of(schema.error(failed) if schema else failed.openai(), 500)
        reply.headers["x-request-id"] = name
        return reply

    async def _counted(self, request: Request, name: str) -> Reply:
        route = self.routes.find(request.method, request.path)
        if route == "health":
            return await self.catalogue.health(self.worker)
        if self._active >= self._most:
            raise Refused("The server is busy; try again.", 503, retry=1)
        self._active += 1
        streams = False
        try:
            self._admit(request)
            if not isinstance(route, Schema):
                return await self.catalogue.reply(request.path, request.headers)
            reply = await self._serve(request, name, route)
            streams = reply.stream is not None
            return reply
        finally:
            if not streams:
                self._release()

    def _release(self) -> None:
        self._active -= 1

    def _admit(self, request: Request) -> None:
        if self._key is None:
            return
        shown = request.headers.get("authorization", "").removeprefix("Bearer ")
        shown = shown or request.headers.get("x-api-key", "")
        if not hmac.compare_digest(shown.encode(), self._key.encode()):
            raise Refused("Give a valid key as a bearer token.", 401)

    async def _serve(self, request: Request, name: str, schema: Schema) -> Reply:
        asked = self._read(request, name, schema)
        verdict = await self.judge(name, asked.asked, schema.carries)
        edit = verdict.edit
        told = self._told(asked, edit)
        if edit is not None and edit.answer is not None:
            await self.catalogue.admitted(request.headers)
            if not asked.asked.stream:
                return Reply.of(schema.answer(edit.answer, told))
            written = [one.encode() for one in schema.stream(edit.answer, told)]
            return self._streamed(_said(written))
        sent, response = await self._ask(asked, edit)
        goes_on = schema.goes_on(sent) if self._goes_on else None
        view, finished = asked.asked.view, self.enforcement.finished
        checks = Checks(self.guard, self.worker, name, view, verdict, finished, goes_on)
        reading = schema.reading(checks, told)
        if asked.asked.stream:
            return self._streamed(self._stream(asked, sent, response, reading), response)
        return await self._whole(asked, sent, response, reading)

    def _streamed(
        self, pieces: AsyncGenerator[bytes, None], response: httpx.Response | None = None
    ) -> Reply:
        headers = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
        if response is not None:
            headers |= told_headers(response)

        async def close() -> None:
            self._release()
            if response is not None:
                await response.aclose()  # the server behind stops writing what nobody reads

        return Reply(200, headers, stream=Stream(pieces, close))

    def _read(self, request: Request, name: str, schema: Schema) -> _Asked:
        """Reads a request.

        Raises:
            Refused: It cannot be judged, or asks for what is not served.
        """
        kind = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
        if kind != JSON:
            raise Refused(f"Send the body as {JSON}.", 415)
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise Refused("Send the body without a content encoding.", 415)
        body = schema.fields.checked(read_body(request.body))
        if body.get("stream") not in (None, True, False) or isinstance(body.get("stream"), int) != (
            isinstance(body.get("stream"), bool)
        ):
            raise Refused("stream: must be true or false", param="stream")
        body["model"] = self.catalogue.named(body.get("model"), embeds=schema.refuses)
        asked = schema.read(body, self.counter)
        if asked.logprobs and self._reads:
            raise Refused("logprobs: not available on this server", param="logprobs")
        return _Asked(name, request.headers, schema, body, asked)

    def _told(self, asked: _Asked, edit: Edit | None) -> Told:
        added = self.counter.count(added_text(edit)) if edit is not None else 0
        model, logprobs = str(asked.body["model"]), asked.asked.logprobs
        return Told(asked.body, model, added, logprobs, edit is not None, self.counter)

    async def _ask(self, asked: _Asked, edit: Edit | None) -> tuple[dict[str, Any], httpx.Response]:
        """Sends a request on, with its edits; returns what was sent, and the answer.

        Raises:
            Refused: It is none.
        """
        schema, path = asked.schema, asked.schema.path
        body = schema.prepared(asked.body)
        sent = body
        if edit is not None:
            sent = schema.without_logprobs(schema.edited(body, edit, self.counter))
            sent = {**sent, "model": edit.model or sent["model"]}
        response = await self.upstream.post(path, sent, asked.headers)
        if response.status_code == 200:
            return sent, response
        if edit is not None and 400 <= response.status_code < 500:
            # What the server says of the edited request would tell of the edit: it is asked what it
            # says of the client's own. Where that is an answer, nothing of it is read.
            await response.aclose()
            response = await self.upstream.post(path, body, asked.headers)
            if response.status_code == 200:
                await response.aclose()
                logger.error("guard: request %s: refused upstream with its edits", asked.name)
                raise Refused(UNANSWERED, 503)
        try:
            raise await self._error(response)
        finally:
            await response.aclose()

    async def _error(self, response: httpx.Response) -> Refused:
        """What a client is told of an error: of its own doing, what the server says of it."""
        status = response.status_code
        retry = response.headers.get("retry-after", "")
        patience = int(retry) if retry.isdecimal() and len(retry) < 6 else None
        if status == 429:
            return Refused("The model server is busy; try again.", 429, retry=patience)
        if not 400 <= status < 500:
            logger.error("guard: the upstream server answers with status %d", status)
            return Refused(UNANSWERED, 503 if status == 503 else 502, retry=patience)
        try:
            error = json.loads(await self._all(response, _MOST_ERROR))["error"]
            message, param = str(error["message"]), error.get("param")
        except (OutputError, ValueError, KeyError, TypeError, AttributeError):
            message, param = UNANSWERED, None
        return Refused(message, status, param if isinstance(param, str) else None)

    async def _again(
        self, asked: _Asked, sent: dict[str, Any], reading: Reading, ending: Ending
    ) -> httpx.Response:
        """Has an answer gone on with.

        Raises:
            OutputError: The server does not do it.
        """
        # No template keeps a space at the end, and after one a word is cut into other tokens.
        left = reading.of(0).left.get(reading.checks.goes_on or "", "").rstrip()
        body = asked.schema.continued(sent, left, ending.again or (), self.counter)
        sent["bad_words"] = body["bad_words"]  # they hold for every further time
        response = await self.upstream.post(asked.schema.path, body, asked.headers)
        if response.status_code != 200:
            await response.aclose()
            raise OutputError("the upstream server does not go on with an answer")
        reading.resume()
        return response

    async def _whole(
        self, asked: _Asked, sent: dict[str, Any], response: httpx.Response, reading: Reading
    ) -> Reply:
        try:
            while True:
                value = json.loads(await self._all(response, _MOST_BYTES))
                if not isinstance(value, dict) or value.get("error"):
                    raise OutputError("the upstream server's answer is none")
                made = await reading.whole(value)
                if reading.again is None:
                    break
                await response.aclose()
                response = await self._again(asked, sent, reading, reading.again)
        except Exception as error:
            self._unread(asked, error)
            raise Refused(UNANSWERED, 502) from None
        finally:
            await response.aclose()
        return Reply.of(made, 200, **told_headers(response))

    async def _stream(
        self, asked: _Asked, sent: dict[str, Any], response: httpx.Response, reading: Reading
    ) -> AsyncGenerator[bytes, None]:
        try:
            while True:
                async with contextlib.aclosing(events(self.upstream.pieces(response))) as came:
                    async for event in came:
                        for told in await reading.event(event):
                            yield told.encode()
                        if reading.over or reading.again is not None:
                            break
                if reading.again is None:
                    break
                await response.aclose()
                response = await self._again(asked, sent, reading, reading.again)
            for told in await reading.end():
                yield told.encode()
        except Exception as error:
            self._unread(asked, error)
            for told in asked.schema.broken(Refused(UNANSWERED, 502)):
                yield told.encode()
        finally:
            await response.aclose()

    def _unread(self, asked: _Asked, error: Exception) -> None:
        # Not the message of an unknown error: it could quote the answer.
        known = type(error).__module__.startswith("guard.")
        reason = str(error) if known else type(error).__name__
        logger.error("guard: request %s: its answer was not passed on (%s)", asked.name, reason)

    async def _all(self, response: httpx.Response, most: int) -> bytes:
        held = bytearray()
        async with contextlib.aclosing(self.upstream.pieces(response)) as pieces:
            async for piece in pieces:
                held += piece
                if len(held) > most:
                    raise OutputError("the upstream server's answer is too long to be checked")
        return bytes(held)


async def _said(pieces: list[bytes]) -> AsyncGenerator[bytes, None]:
    for piece in pieces:
        yield piece
