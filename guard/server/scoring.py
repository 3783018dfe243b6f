"""`POST /guard/score`: how likely given answers are through the guard, for who knows the token.

There is such a route only where the server was started with ``GUARD_EVALUATION_TOKEN``. An ASGI
middleware behind the gate, so it is shut until the guard has been proved live.
"""

import asyncio
import hmac
import json
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from guard.engine import compat, evaluation
from guard.engine.settings import evaluation_token
from guard.errors import EngineError
from guard.options import Strict

PATH = "/guard/score"
MOST_BYTES = 8 << 20  # of a body
MOST = 512  # answers of a request

_Scope = MutableMapping[str, Any]
_Message = MutableMapping[str, Any]
_Send = Callable[[_Message], Awaitable[None]]
_Receive = Callable[[], Awaitable[_Message]]
_App = Callable[[_Scope, _Receive, _Send], Awaitable[None]]


class Turn(Strict):
    """A chat message."""

    role: Literal["system", "user", "assistant"]
    content: str


class Body(Strict):
    """What is to be scored.

    Attributes:
        prompts: Chats; a text is a user's only message. Without `chat`, texts to go on from.
        answers: An answer to each.
        chat: Whether prompts are chats, and the token that ends an answer counts.
    """

    prompts: Annotated[list[str | list[Turn]], Field(min_length=1, max_length=MOST)]
    answers: list[Annotated[str, Field(min_length=1)]]
    chat: bool = True

    @model_validator(mode="after")
    def _paired(self) -> "Body":
        if len(self.prompts) != len(self.answers):
            raise ValueError(f"{len(self.prompts)} prompts, but {len(self.answers)} answers")
        if not self.chat and not all(isinstance(prompt, str) for prompt in self.prompts):
            raise ValueError("without chat, prompts are texts")
        return self


class ScoreRoute:
    """Answers the route, and passes everything else on.

    Args:
        app: The server behind it.
    """

    def __init__(self, app: _App) -> None:
        self.app = app
        self.token = evaluation_token()

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Answers a request, or passes it on."""
        if self.token is None or scope["type"] != "http" or not _is_ours(scope):
            await self.app(scope, receive, send)
            return
        try:
            status, value = 200, await self._answer(scope, receive)
        except _Refused as refusal:
            status, value = refusal.status, _error(str(refusal), refusal.status)
        except Exception as error:  # vLLM's own, as its routes would answer them
            if compat.is_client_error(error):
                status, value = 400, _error(str(error), 400)
            else:  # not its message, which could quote a prompt
                status, value = 503, _error("The answers could not be scored.", 503)
        body = json.dumps(value).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        if status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: _Scope, receive: _Receive) -> dict[str, Any]:
        if not self._knows(dict(scope["headers"]).get(b"authorization", b"")):
            raise _Refused("Give the evaluation token as a bearer token.", 401)
        if scope["method"] != "POST":
            raise _Refused("Send a POST request.", 405)
        try:
            body = Body.model_validate_json(await _read(receive))
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            where = [*first["loc"], *filter(None, [first.get("ctx", {}).get("field")])]
            named = ".".join(map(str, where)) or "the body"
            raise _Refused(f"{named}: {first['msg']}", 400) from None
        state = scope["app"].state
        return {"object": "guard.scores", "scores": await scores(state, body)}

    def _knows(self, header: bytes) -> bool:
        wanted = f"Bearer {self.token}".encode()
        return hmac.compare_digest(header, wanted)


async def scores(state: Any, body: Body) -> list[list[float] | None]:
    """Scores answers with the engine of a server.

    Args:
        state: The state of vLLM's application.
        body: What is to be scored.
    """
    engine = state.engine_client
    frontend = getattr(engine, "_guard_frontend", None)
    if frontend is None or not frontend.evaluation:
        raise EngineError("this engine does not score")
    template = getattr(getattr(state, "args", None), "chat_template", None)
    size = compat.scoring.vocabulary(engine)

    async def one(prompt: str | list[Turn], answer: str) -> list[float] | None:
        turns = [Turn(role="user", content=prompt)] if isinstance(prompt, str) else prompt
        read = [turn.model_dump() for turn in turns] if body.chat else str(prompt)
        ids = evaluation.prompt_tokens(frontend.tokenizer, read, template)
        tokens = evaluation.answer_tokens(frontend.tokenizer, answer, ends=body.chat)
        with evaluation.scoring():
            params = compat.scoring.scoring_params(tokens)
            prompted = {"prompt_token_ids": ids}
            async for output in engine.generate(prompted, params, f"score-{uuid.uuid4().hex}"):
                last = output
        found = compat.scoring.likelihood(last, tokens, size)
        return None if found is None else list(found)

    pairs = zip(body.prompts, body.answers, strict=True)
    return list(await asyncio.gather(*(one(prompt, answer) for prompt, answer in pairs)))


class _Refused(Exception):
    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def _is_ours(scope: _Scope) -> bool:
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", "")).rstrip("/") == PATH


async def _read(receive: _Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Refused("The request was broken off.", 400)
        piece: bytes = message.get("body", b"")
        body += piece
        if len(body) > MOST_BYTES:
            raise _Refused(f"The body has more than {MOST_BYTES >> 20} MiB.", 413)
        if not message.get("more_body"):
            return body


def _error(message: str, status: int) -> dict[str, Any]:
    kinds = {401: "Unauthorized", 413: "Payload Too Large", 503: "Service Unavailable"}
    kind = kinds.get(status, "BadRequestError")
    return {"error": {"message": message, "type": kind, "param": None, "code": status}}
