"""Server-sent events: read from the pieces that a server sends, and written again."""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Any

from guard.errors import OutputError

DONE = "[DONE]"
MOST = 16 << 20  # bytes of one event


@dataclass(frozen=True)
class Event:
    """An event.

    Attributes:
        data: What it holds; the text ``[DONE]`` at the end of OpenAI's streams.
        name: Its name, where the schema names events.
    """

    data: Any
    name: str | None = None

    def encode(self) -> bytes:
        """The event as it goes over the wire."""
        data = self.data if self.data == DONE else json.dumps(self.data, ensure_ascii=False)
        name = f"event: {self.name}\n" if self.name else ""
        return f"{name}data: {data}\n\n".encode()


async def events(pieces: AsyncIterator[bytes]) -> AsyncGenerator[Event, None]:
    """Reads the events of a stream; comments and other fields are left out.

    Raises:
        OutputError: It is no stream of JSON events: nothing in it could be checked.
    """
    held, name, data = b"", None, list[str]()
    async for piece in pieces:
        held += piece
        *lines, held = held.replace(b"\r\n", b"\n").split(b"\n")
        if len(held) > MOST:
            raise OutputError("an event of the upstream server is too long to be checked")
        for raw in lines:
            try:
                line = raw.decode()
            except UnicodeDecodeError:
                raise OutputError("the upstream server sends what is not UTF-8") from None
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "event" and line:
                name = value
            elif field == "data" and line:
                data.append(value)
            elif not line and data:
                yield Event(_parsed("\n".join(data)), name)
                name, data = None, []
    if data or held.strip():
        raise OutputError("the upstream server broke off in the middle of an event")


def _parsed(text: str) -> Any:
    if text.strip() == DONE:
        return DONE
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise OutputError("an event of the upstream server is no JSON") from None
    if not isinstance(value, dict):
        raise OutputError("an event of the upstream server is no JSON object")
    return value
