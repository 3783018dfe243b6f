"""A refusal in the form that the server behind gives its answers.

A client must not be able to tell by the form that it was refused. So the server is asked
something harmless with the client's own options, and the refusal's text is put in the place of its
answer; an error that it answers with is the client's doing, as it would be for anybody. What is
asked is judged like any request: nothing that is flagged goes there. Where there is no such form,
the refusal leaves in the proxy's own.
"""

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from guard.errors import DetectionError, GuardError
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
        speaks = said(text, read.body, told.counter, read.schema.usual)
        if not read.schema.refuses:
            try:
                filler = Filler(told.counter)
                sent, added = await edition.judge.run(lambda: _sent(edition, read, filler))
                return await self._asked(
                    edition, sent, filler, speaks, replace(told, added=added, sent=sent.body)
                )
            except Refused:
                raise
            except Exception as error:
                # Not the message of an unknown error: it could quote the prompt.
                reason = str(error) if isinstance(error, GuardError) else type(error).__name__
                logger.warning(
                    "guard: request %s: is refused in a form of the proxy's own (%s)",
                    read.name, reason,
                )  # fmt: skip
        await self._catalogue.admitted(read.headers)
        # In a thread: the tokens of its prompt are counted.
        return await asyncio.to_thread(_own, read, speaks, told)

    async def _asked(
        self, edition: Edition, sent: Read, filler: Filler, speaks: Said, told: Told
    ) -> Finished:
        """The refusal in the server's form.

        Raises:
            Refused: The server does not answer.
            OutputError: It has no place for a text.
        """
        schema = sent.schema
        exchange = Exchange(self._upstream, told.counter, sent, None)
        try:
            await exchange.begin()
        except Refused as refused:
            refused.message = filler.told(refused.message)
            raise
        headers = told_headers(exchange.response)
        reading = schema.reading(Unread(edition.guard, edition.worker, sent.name), told)
        try:
            if not sent.asked.stream:
                value = schema.restated(await exchange.value(), speaks, told)
                return Finished(await reading.whole(value), (), headers)
            events = list[Event]()
            for event in schema.restreamed(await exchange.events(), speaks, told):
                events += await reading.event(event)
            return Finished(None, (*events, *await reading.end()), headers)
        finally:
            await exchange.aclose()


def _own(read: Read, speaks: Said, told: Told) -> Finished:
    """The refusal in the proxy's own form."""
    if read.asked.stream:
        return Finished(None, tuple(read.schema.stream(speaks.text, told)), {})
    return Finished(read.schema.answer(speaks.text, told), (), {})


def _sent(edition: Edition, read: Read, filler: Filler) -> tuple[Read, int]:
    """What is asked in a request's place, and how many tokens more its prompt has.

    Raises:
        DetectionError: Nothing that is harmless could be found.
    """
    schema, counter = read.schema, filler.counter
    for body in _bodies(edition, read, filler):
        try:
            asked = schema.read(body, counter)
        except Refused:  # no client's doing
            continue
        if not edition.guard.decide(asked.view).enforced:
            added = schema.prompt_tokens(body, counter) - schema.prompt_tokens(read.body, counter)
            return replace(read, body=body, asked=asked), added
    raise DetectionError("what would be asked for it is flagged, too")


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
