"""One way through: a request is read, judged, edited and sent on, and its answer is read.

The proxy's server and the clients' transports differ only in how they come by a request.
"""

import asyncio
import hmac
import logging
import re
import uuid
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from guard.engine.progress import Progress
from guard.proxy.checks import Checks
from guard.proxy.edition import Edition
from guard.proxy.enforcement import Edit
from guard.proxy.exchange import Exchange, Read
from guard.proxy.fields import read_body
from guard.proxy.judging import Case, Verdict
from guard.proxy.load import Load
from guard.proxy.message import JSON, NO_KEY, Refused, Reply, Request, Stream
from guard.proxy.models import Catalogue
from guard.proxy.refusing import Refusing
from guard.proxy.schemas.base import Schema, Told
from guard.proxy.schemas.common import added_text
from guard.proxy.sse import Event
from guard.proxy.upstream import TRACE, Upstream, told_headers
from guard.tenants import Caller, bearer, caller

logger = logging.getLogger("guard.proxy")

_NAME = re.compile(r"[A-Za-z0-9._-]{1,128}")
_LONG = 1 << 16  # bytes of a body that are read on the event loop; more are read in a thread


class Pipeline:
    """Serves requests.

    Args:
        edition: What they are served by; may be replaced at any time.
        upstream: The server behind.
        catalogue: The models that clients may use.
        key: What clients must show; None where the server behind asks them itself.
        most: How many requests are served at once.
        goes_on: Whether the server can be asked to go on with an answer that has begun.
    """

    def __init__(
        self,
        edition: Edition,
        upstream: Upstream,
        catalogue: Catalogue,
        key: str | None = None,
        most: int = 256,
        *,
        goes_on: bool = False,
    ) -> None:
        self.edition = edition
        self.upstream, self.catalogue = upstream, catalogue
        self.load = Load(most)
        self._key, self._goes_on = key, goes_on
        self._refusing = Refusing(upstream, catalogue)

    async def handle(self, request: Request) -> Reply:
        """Serves a request; every error becomes a reply."""
        # Once: all of it is served by this one.
        edition = self.edition.for_caller(_caller(request))
        given = request.headers.get("x-request-id", "")
        name = given if _NAME.fullmatch(given) else uuid.uuid4().hex
        request = replace(request, headers={**request.headers, "x-request-id": name})
        schema = edition.routes.schema(request.path)
        try:
            reply = await self._counted(edition, request, name)
        except Refused as refused:
            body = schema.error(refused) if schema else refused.openai()
            reply = Reply.of(body, refused.status)
            reply.headers.update(refused.headers)
        except Exception as error:  # not its message, which could quote a prompt
            logger.error("guard: request %s failed: %s", name, type(error).__name__)
            failed = Refused("This request could not be served.", 500)
            reply = Reply.of(schema.error(failed) if schema else failed.openai(), 500)
        reply.headers["x-request-id"] = name
        if self.load.draining:
            reply.headers["connection"] = "close"
        return reply

    async def _counted(self, edition: Edition, request: Request, name: str) -> Reply:
        route = edition.routes.find(request.method, request.path)
        if route == "health":
            return await self.catalogue.health(edition.worker, draining=self.load.draining)
        self.load.take()
        streams = False
        try:
            self._admit(request, edition)
            if not isinstance(route, Schema):
                return await self.catalogue.reply(request.path, request.headers)
            reply = await self._serve(edition, request, name, route)
            streams = reply.stream is not None
            return reply
        finally:
            if not streams:
                self.load.release()

    def _admit(self, request: Request, edition: Edition) -> None:
        """Refuses who shows neither the proxy's key nor a tenant's, where it asks for one.

        Raises:
            Refused: As said (HTTP 401).
        """
        if self._key is None:
            return
        shown = _shown(request) or (b"",)
        own = hmac.compare_digest(shown[0], self._key.encode())
        if not own and edition.tenant is None:
            raise Refused(NO_KEY, 401)

    async def _serve(self, edition: Edition, request: Request, name: str, schema: Schema) -> Reply:
        raw = await request.content()
        progress = Progress()
        long = len(raw) > _LONG
        if long:
            read = await asyncio.to_thread(self._read, edition, request, raw, name, schema)
        else:
            read = self._read(edition, request, raw, name, schema)
        progress.passed("view")
        verdict = Verdict(None)
        if schema.judged:
            trace = {field: request.headers[field] for field in TRACE if field in request.headers}
            verdict = await edition.judge(Case(name, read.asked, schema.carries, trace), progress)
        edit = verdict.edit
        told = self._told(edition, read, edit)
        if edit is not None and edit.answer is not None:
            finished = await self._refusing(edition, read, edit.answer, told)
            if finished.body is not None:
                return Reply.of(finished.body, 200, **finished.headers)
            return self._streamed(_said(finished.events), headers=finished.headers)
        exchange = Exchange(self.upstream, edition.terms.counter, read, edit)
        checks = self._checks(edition, read, verdict, exchange)
        reading = schema.reading(checks, told)
        await exchange.begin()
        if read.asked.stream:
            return self._streamed(exchange.pieces(reading), checks, exchange)
        made = await exchange.whole(reading)
        checks.over()
        return Reply.of(made, 200, **told_headers(exchange.response))

    def _checks(self, edition: Edition, read: Read, verdict: Verdict, exchange: Exchange) -> Checks:
        goes_on = read.schema.goes_on(exchange.sent) if self._goes_on else None
        return Checks(
            edition.guard, edition.worker, edition.terms.recorder, read.name, read.asked.view,
            verdict, edition.enforcement.finished, goes_on,
        )  # fmt: skip

    def _streamed(
        self,
        pieces: AsyncGenerator[bytes, None],
        checks: Checks | None = None,
        exchange: Exchange | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> Reply:
        kind = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
        if exchange is not None:
            headers = told_headers(exchange.response)

        async def close() -> None:
            self.load.release()
            if checks is not None:
                checks.over()
            if exchange is not None:
                await exchange.aclose()

        return Reply(200, {**kind, **headers}, stream=Stream(pieces, close))

    def _read(
        self, edition: Edition, request: Request, raw: bytes, name: str, schema: Schema
    ) -> Read:
        """Reads a request.

        Raises:
            Refused: It cannot be judged, or asks for what is not served.
        """
        kind = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
        if kind != JSON:
            raise Refused(f"Send the body as {JSON}.", 415)
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise Refused("Send the body without a content encoding.", 415)
        body = schema.fields.checked(read_body(raw))
        if body.get("stream") not in (None, True, False) or isinstance(body.get("stream"), int) != (
            isinstance(body.get("stream"), bool)
        ):
            raise Refused("stream: must be true or false", param="stream")
        body["model"] = self.catalogue.named(body.get("model"), embeds=schema.refuses)
        asked = schema.read(body, edition.terms.counter)
        if asked.logprobs and edition.reads:
            raise Refused("logprobs: not available on this server", param="logprobs")
        return Read(name, request.headers, schema, body, asked)

    def _told(self, edition: Edition, read: Read, edit: Edit | None) -> Told:
        counter = edition.terms.counter
        added = counter.count(added_text(edit)) if edit is not None else 0
        model, logprobs = str(read.body["model"]), read.asked.logprobs
        window = edition.terms.window
        edited = edit is not None and not edit.found  # what an engine tells of its edits is clean
        return Told(read.body, model, added, logprobs, edited, counter, window)


async def _said(events: Iterable[Event]) -> AsyncGenerator[bytes, None]:
    for event in events:
        yield event.encode()


def _shown(request: Request) -> tuple[bytes, ...]:
    """The keys that a client shows, the one that counts first."""
    authorization = request.headers.get("authorization", "").encode("latin-1", "replace")
    token = bearer(authorization) or authorization
    other = request.headers.get("x-api-key", "").encode("latin-1", "replace")
    return tuple(dict.fromkeys(key for key in (token, other) if key))


def _caller(request: Request) -> Caller:
    """Who asks. Of two keys it cannot be told which the server goes by: they are nobody's."""
    if (named := caller.get()).tenant is not None:  # by the program that the client runs in
        return named
    shown = _shown(request)
    return Caller.of_key(shown[0] if len(shown) == 1 else None)
