"""A refusal in the form that the server behind gives its answers.

A client must not be able to tell by the form that it was refused. So the server is asked
something harmless with the client's own options, and the refusal's text is put in the place of its
answer; an error that it answers with is the client's doing, as it would be for anybody. What is
asked is judged like any request: nothing that is flagged goes there. Where there is no such form,
the refusal leaves in the proxy's own.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from guard.errors import OutputError
from guard.proxy.checks import Unread
from guard.proxy.edition import Edition
from guard.proxy.exchange import Exchange, Read
from guard.proxy.message import Refused
from guard.proxy.models import Catalogue
from guard.proxy.said import LIMITS, Said, said
from guard.proxy.schemas.base import Told
from guard.proxy.sse import Event
from guard.proxy.standing import Filler, shortened
from guard.proxy.upstream import Upstream, told_headers

logger = logging.getLogger("guard.proxy")

_FEW = 1  # tokens that are asked for
_STREAMED = 2  # where it is streamed: how a chunk looks, and how the last one does


@dataclass(frozen=True)
class Finished:
    """A finished answer as a client gets it.

    Attributes:
        body: The reply, where it comes in one.
        events: Its events, where it is streamed.
        headers: What of the server's headers the client is told.
    """

    body: dict[str, Any] | None
    events: tuple[Event, ...]
    headers: dict[str, str]


class Refusing:
    """Writes refusals.

    Args:
        upstream: The server behind.
        catalogue: Tells whether that would serve a client.
    """

    def __init__(self, upstream: Upstream, catalogue: Catalogue) -> None:
        self._upstream, self._catalogue = upstream, catalogue

    async def __call__(self, edition: Edition, read: Read, text: str, told: Told) -> Finished:
        """Answers a request with a text.

        Args:
            edition: What the request is served by.
            read: The request.
            text: The policy's text.
            told: What a reply to it is written with.

        Raises:
            Refused: The server would not have answered it either.
        """
        schema, worker = read.schema, edition.worker
        speaks = said(text, read.body, told.counter, schema.usual)
        if not schema.refuses:
            try:
                filler = Filler(told.counter)
                sent = await worker.acall(lambda: _sent(edition, read, filler))
            except Exception as error:  # not its message, which could quote the prompt
                reason = type(error).__name__
                logger.warning("guard: request %s: its form is not known (%s)", read.name, reason)
                sent = None
            if sent is not None:
                finished = await self._asked(edition, read, sent, filler, speaks, told)
                if finished is not None:
                    return finished
        await self._catalogue.admitted(read.headers)
        if read.asked.stream:
            return Finished(None, tuple(schema.stream(speaks.text, told)), {})
        return Finished(schema.answer(speaks.text, told), (), {})

    async def _asked(
        self, edition: Edition, read: Read, sent: Read, filler: Filler, speaks: Said, told: Told
    ) -> Finished | None:
        """The refusal in the server's form; None where it has no place for it."""
        schema, counter = read.schema, told.counter
        added = schema.prompt_tokens(sent.body, counter) - schema.prompt_tokens(read.body, counter)
        told = replace(told, added=added, sent=sent.body)
        exchange = Exchange(self._upstream, counter, sent, None)
        try:
            await exchange.begin()
        except Refused as refused:
            refused.message = filler.told(refused.message)
            raise
        headers = told_headers(exchange.response)
        reading = schema.reading(Unread(edition.guard, edition.worker, read.name), told)
        try:
            if not read.asked.stream:
                value = schema.restated(await exchange.value(), speaks, told)
                return Finished(await reading.whole(value), (), headers)
            events = list[Event]()
            for event in schema.restreamed(await exchange.events(), speaks, told):
                events += await reading.event(event)
            return Finished(None, (*events, *await reading.end()), headers)
        except Exception as error:  # not its message, which could quote an answer
            reason = str(error) if isinstance(error, OutputError) else type(error).__name__
            logger.warning(
                "guard: request %s: its refusal has another form (%s)", read.name, reason
            )
            return None
        finally:
            await exchange.aclose()


def _sent(edition: Edition, read: Read, filler: Filler) -> Read | None:
    """What is asked in a request's place; None where nothing that is harmless could be found."""
    for body in _bodies(edition, read, filler):
        asked = read.schema.read(body, filler.counter)
        if not edition.guard.decide(asked.view).enforced:
            return replace(read, body=body, asked=asked)
    return None


def _bodies(edition: Edition, read: Read, filler: Filler) -> Iterator[dict[str, Any]]:
    """The client's request with other texts, and one with none of its tools and formats."""
    schema, terms = read.schema, edition.terms
    few = _STREAMED if read.asked.stream else _FEW
    body = shortened(read.body, few, schema.limit, terms.window)
    if terms.means.vllm and schema.steers and few in (body.get(name) for name in LIMITS):
        body["min_tokens"] = few
    prompt = {name: filler.value(body[name]) for name in schema.prompt if name in body}
    yield {**body, **prompt}
    plain = {*schema.fields.plain, *schema.fields.labels}
    bare = {name: one for name, one in body.items() if name in plain}
    yield {**bare, **schema.plain_prompt(read.body, filler.text(read.asked.view.text))}
