"""What passes through: a request, its reply, and a refusal of one."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

JSON = "application/json"
NO_KEY = "Give a valid key as a bearer token."
_TYPES = {
    400: "BadRequestError",
    401: "AuthenticationError",
    404: "NotFoundError",
    405: "MethodNotAllowedError",
    413: "RequestTooLargeError",
    415: "UnsupportedMediaTypeError",
}


@dataclass(frozen=True)
class Request:
    """A client's request.

    Attributes:
        method: In capitals.
        path: Without a query; a query is never passed on.
        headers: By name in small letters.
        body: All of it, where it is here already.
        read: Has all of it come, where it is not.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    read: Callable[[], Awaitable[bytes]] | None = None

    async def content(self) -> bytes:
        """All of the body.

        Raises:
            Refused: It is too large, or does not come.
        """
        return self.body if self.read is None else await self.read()


@dataclass(frozen=True)
class Reply:
    """What a client gets.

    Attributes:
        status: The HTTP status.
        headers: By name in small letters.
        body: All of it, where it is not streamed.
        stream: Its pieces, where it is; to be closed (`aclose`) by whoever reads it.
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    stream: "Stream | None" = None

    @classmethod
    def of(cls, value: Any, status: int = 200, **headers: str) -> "Reply":
        """A reply with a JSON body."""
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        body = json.dumps(value, ensure_ascii=False).encode()
        return cls(status, {"content-type": JSON, **named}, body)


class Stream:
    """Pieces of a reply, and what is to be done when they are not read any more.

    Args:
        pieces: The pieces.
        close: Called once by `aclose`, even where nothing was read at all.
    """

    def __init__(
        self, pieces: AsyncGenerator[bytes, None], close: Callable[[], Awaitable[None]]
    ) -> None:
        self._pieces, self._close = pieces, close
        self._closed = False

    def __aiter__(self) -> "Stream":
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._pieces)

    async def aclose(self) -> None:
        """Ends it."""
        if self._closed:
            return
        self._closed = True
        try:
            await self._pieces.aclose()
        finally:
            await self._close()


class Refused(Exception):
    """A request that is not answered as asked; a client is told why.

    Args:
        message: What is wrong and how to mend it. Never anything of a forget set, and never that a
            prompt was flagged.
        status: The HTTP status.
        param: The field at fault.
        retry: Seconds after which it may be asked again.
        allow: The methods that the route has.
    """

    def __init__(
        self,
        message: str,
        status: int = 400,
        param: str | None = None,
        *,
        retry: int | None = None,
        allow: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.param = param
        self.headers = {"retry-after": str(retry)} if retry is not None else {}
        if allow is not None:
            self.headers["allow"] = allow
        if status == 401:
            self.headers["www-authenticate"] = "Bearer"

    def openai(self) -> dict[str, Any]:
        """The error in OpenAI's schema."""
        kind = _TYPES.get(self.status, "ServiceUnavailableError")
        said = {"message": self.message, "type": kind, "param": self.param, "code": self.status}
        return {"error": said}
