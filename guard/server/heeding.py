"""A proxy's verdict on a request, taken from its headers before vLLM's server has it."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from guard.handover import HEADER, RECEIPT, Handover, found

_Message = MutableMapping[str, Any]
_Send = Callable[[_Message], Awaitable[None]]
_Receive = Callable[[], Awaitable[_Message]]


async def heeded(
    handover: Handover, scope: _Message, receive: _Receive, send: _Send
) -> tuple[_Receive, _Send]:
    """Tells the guard, by `guard.handover.found`, what a genuine verdict says of a request.

    Any other header of this name is one that nobody knows, and changes nothing.

    Args:
        handover: Checks it.
        scope: The request's, as ASGI has it.
        receive: Gives its body.
        send: Takes its answer.

    Returns:
        What takes the place of the last two: the body is read, and the answer has a receipt.
    """
    found.set(frozenset())
    given = dict(scope["headers"]).get(HEADER.encode())
    if given is None:
        return receive, send
    header = given.decode("latin-1")
    read, body = [], bytearray()
    while True:
        message = await receive()
        read.append(message)
        body += message.get("body", b"")
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            break
    left = iter(read)

    async def again() -> _Message:
        return next(left, None) or await receive()

    targets = handover.read(header, bytes(body))
    if targets is None:
        return again, send
    found.set(targets)
    receipt = RECEIPT.encode(), handover.receipt(header).encode()

    async def with_receipt(message: _Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], receipt]}
        await send(message)

    return again, with_receipt
