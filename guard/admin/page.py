"""The console: a page of our own files; it holds no data until somebody shows it a token."""

from importlib.resources import files
from pathlib import PurePath

from fastapi import APIRouter, Response
from fastapi.responses import RedirectResponse

from guard.admin.schemas import Health

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".js": "text/javascript; charset=utf-8",
}
_FILES = {
    file.name: (file.read_bytes(), _TYPES[PurePath(file.name).suffix])
    for file in files("guard.admin").joinpath("console").iterdir()
    if PurePath(file.name).suffix in _TYPES
}
_INDEX = "index.html"

router = APIRouter(prefix="/guard")


@router.get("/health", tags=["watching"])
def health() -> dict[str, Health]:
    """Whether this process lives; anybody may ask."""
    return {"status": "ok"}


@router.get("", include_in_schema=False)
def moved() -> RedirectResponse:
    """The console's address without its slash."""
    return RedirectResponse("/guard/", 308)


def _serve(name: str, path: str) -> str:
    raw, media_type = _FILES[name]

    def file() -> Response:
        return Response(raw, media_type=media_type)

    router.get(path, include_in_schema=False, name=name)(file)
    return f"/guard{path}"


OPEN = (
    "/guard",
    "/guard/health",
    *(_serve(name, "/" if name == _INDEX else f"/{name}") for name in sorted(_FILES)),
)
