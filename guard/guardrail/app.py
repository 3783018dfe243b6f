"""The guardrail as a web application, and the server that runs it."""

import hmac
import logging
from collections.abc import Callable
from pathlib import Path

import uvicorn
from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from starlette.exceptions import HTTPException

from guard.ending import ends_well
from guard.errors import EngineError
from guard.guard import Guard
from guard.guardrail.contract import PATH, Reply
from guard.guardrail.edition import Edition
from guard.guardrail.service import Service
from guard.logs import configure
from guard.proxy.fields import MOST_BYTES
from guard.proxy.message import Refused
from guard.proxy.renewing import reloader
from guard.recorder import Recorder
from guard.reload import reload_seconds
from guard.secret import MEND, secret

KEY = "GUARD_GUARDRAIL_KEY"


def key_of_environment() -> str:
    """Returns what a gateway has to show.

    Raises:
        EngineError: There is none, or it is so short that it could be guessed.
    """
    key = secret(KEY, EngineError)
    if key is None:
        raise EngineError(
            f"{KEY} is not set; {MEND}: whoever may ask the guardrail can find out what is in a "
            "forget set"
        )
    return key


def make_app(service: Service, key: str) -> FastAPI:
    """Makes the application.

    Args:
        service: What answers.
        key: What a gateway has to show, as ``x-api-key`` or as a bearer token.
    """
    app = FastAPI(title="Guard's guardrail", docs_url=None, redoc_url=None, openapi_url=None)

    def admitted(request: Request) -> None:
        shown = request.headers.get("x-api-key")
        if shown is None:
            shown = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(shown.encode(), key.encode()):
            raise Refused(f"Give {KEY} as x-api-key or as a bearer token.", 401)

    async def body(request: Request, _: None = Depends(admitted)) -> bytes:
        held = bytearray()
        async for piece in request.stream():
            held += piece
            if len(held) > MOST_BYTES:
                break  # the reader refuses it
        return bytes(held)

    @app.post(PATH, response_model=Reply, response_model_exclude_none=True)
    async def judge(raw: bytes = Depends(body)) -> Reply:
        return await service.answer(raw)

    @app.get("/health")
    async def health() -> JSONResponse:
        return JSONResponse(
            {"guard": "ok" if service.well else "failed"}, 200 if service.well else 503
        )

    @app.get("/metrics", dependencies=[Depends(admitted)])
    async def metrics() -> Response:
        return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> JSONResponse:
        return JSONResponse(error.openai(), error.status, error.headers)

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> JSONResponse:
        said = {
            404: "There is no such route on this server.",
            405: "This route has no such method.",
        }
        message = said.get(error.status_code, "This request could not be served.")
        return JSONResponse(Refused(message, error.status_code).openai(), error.status_code)

    return app


def serve(
    bundle: Path, host: str, port: int, report: Callable[[str], None], *, instead: bool = False
) -> int:
    """Serves until it is ended; returns the exit status.

    Raises:
        GuardError: It cannot start guarded.
    """
    key, seconds = key_of_environment(), reload_seconds()
    logging.basicConfig(format="%(levelname)s %(message)s")
    logging.getLogger("vllm.guard").setLevel(logging.INFO)
    configure()
    guard = Guard.load(bundle)
    edition = Edition.of(guard, instead=instead)  # a bundle that will not do leaves no audit behind
    recorder = Recorder.from_environment("guardrail")
    try:
        service = Service(edition, recorder)
        guard.warm()
        recorder.serving(guard.bundle)
        if seconds is not None:
            reloader(service, bundle, recorder, seconds).start()
        targets = len(guard.bundle.manifest.live)
        report(f"ready: http://{host}:{port}{PATH} judges by {guard.version}: {targets} targets")
        server = uvicorn.Server(
            uvicorn.Config(
                make_app(service, key),
                host=host,
                port=port,
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=30,
            )
        )
        with ends_well():
            server.run()
    finally:
        recorder.close()
    return 0 if server.started else 1
