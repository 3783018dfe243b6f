"""The admin API as an ASGI application, behind its gate."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from guard import __version__
from guard.admin import page, targets, watching
from guard.admin.errors import AbsentError, StaleError, TakenError, WantingError, told
from guard.admin.gate import Gate
from guard.admin.schemas import Failure
from guard.admin.services import Services
from guard.admin.tokens import Tokens
from guard.errors import AuditError, BusyError, GuardError

_INVALID = "invalid_request_error"
# The first that fits.
_STATUS: tuple[tuple[type[GuardError], int, str], ...] = (
    (AbsentError, 404, _INVALID),
    (TakenError, 409, _INVALID),
    (BusyError, 409, "conflict_error"),
    (StaleError, 412, _INVALID),
    (WantingError, 428, _INVALID),
    (AuditError, 503, "server_error"),
    (GuardError, 400, _INVALID),
)
_DOCUMENTED: dict[int | str, dict[str, Any]] = {
    status: {"model": Failure, "description": about}
    for status, about in (
        (400, "Something is wrong with what was sent."),
        (401, "No token was shown, or none that is known; nothing else is told."),
        (409, "Another change is under way, or something else of that name is there."),
        (412, "The bundle is another version than `If-Match` says."),
        (503, "The audit cannot be written, so nothing was done."),
    )
}
_ABOUT = """\
Targets of a bundle, changed in place: servers that watch the bundle's folder follow by themselves.
Every request shows a token (`Authorization: Bearer …`); every change is audited under its name.
"""


def create_app(services: Services, tokens: Tokens) -> Gate:
    """Returns the application.

    Args:
        services: What the routes work with.
        tokens: Who may use it.
    """

    @asynccontextmanager
    async def live(app: FastAPI) -> AsyncIterator[None]:
        async with services.client:
            yield

    app = FastAPI(
        title="Guard: admin API",
        description=_ABOUT,
        version=__version__,
        openapi_url="/guard/openapi.json",
        docs_url=None,  # both fetch their scripts from elsewhere
        redoc_url=None,
        lifespan=live,
        redirect_slashes=False,
        responses=_DOCUMENTED,
    )
    app.state.services = services
    app.include_router(targets.router)
    app.include_router(watching.router)
    app.include_router(page.router)
    app.add_exception_handler(GuardError, _wrong)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    return Gate(app, tokens, page.OPEN)


async def _wrong(request: Request, error: Exception) -> JSONResponse:
    status, type_ = next((s, t) for kind, s, t in _STATUS if isinstance(error, kind))
    headers = {"retry-after": "5"} if isinstance(error, BusyError) else None
    return JSONResponse(told(str(error), type_), status, headers)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    """Names the field, never what was in it."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    return JSONResponse(told(f"{field}: {first['msg']}", _INVALID), 400)


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    message = "There is no such route." if error.status_code == 404 else str(error.detail)
    return JSONResponse(told(message, _INVALID), error.status_code, error.headers)
