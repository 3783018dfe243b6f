"""One way through: a request is read, judged, edited and sent on, and its answer is read.

The proxy's server and the clients' transports differ only in how they come by a request.
"""

import hmac
import logging
import re
import uuid
from collections.abc import AsyncGenerator

from guard.engine.worker import Worker
from guard.proxy.checks import Checks
from guard.proxy.counting import Counter
from guard.proxy.enforcement import Edit, Enforcement
from guard.proxy.exchange import Exchange, Read
from guard.proxy.fields import read_body
from guard.proxy.judging import Judge
from guard.proxy.message import JSON, Refused, Reply, Request, Stream
from guard.proxy.models import Catalogue
from guard.proxy.routes import Routes
from guard.proxy.schemas.base import Schema, Told
from guard.proxy.schemas.common import added_text
from guard.proxy.upstream import Upstream, told_headers

logger = logging.getLogger("guard.proxy")

_NAME = re.compile(r"[A-Za-z0-9._-]{1,128}")


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
        exchange = Exchange(self.upstream, self.counter, asked, edit)
        goes_on = schema.goes_on(exchange.sent) if self._goes_on else None
        view, finished = asked.asked.view, self.enforcement.finished
        checks = Checks(self.guard, self.worker, name, view, verdict, finished, goes_on)
        reading = schema.reading(checks, told)
        await exchange.begin()
        if asked.asked.stream:
            return self._streamed(exchange.pieces(reading), exchange)
        made = await exchange.whole(reading)
        return Reply.of(made, 200, **told_headers(exchange.response))

    def _streamed(
        self, pieces: AsyncGenerator[bytes, None], exchange: Exchange | None = None
    ) -> Reply:
        headers = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
        if exchange is not None:
            headers |= told_headers(exchange.response)

        async def close() -> None:
            self._release()
            if exchange is not None:
                await exchange.aclose()

        return Reply(200, headers, stream=Stream(pieces, close))

    def _read(self, request: Request, name: str, schema: Schema) -> Read:
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
        return Read(name, request.headers, schema, body, asked)

    def _told(self, asked: Read, edit: Edit | None) -> Told:
        added = self.counter.count(added_text(edit)) if edit is not None else 0
        model, logprobs = str(asked.body["model"]), asked.asked.logprobs
        return Told(asked.body, model, added, logprobs, edit is not None, self.counter)


async def _said(pieces: list[bytes]) -> AsyncGenerator[bytes, None]:
    for piece in pieces:
        yield piece
