"""The table of what is served; everything else is refused."""

from collections.abc import Collection, Iterator
from typing import Literal

from guard.proxy.enforcement import Enforcement
from guard.proxy.message import Refused
from guard.proxy.schemas import SCHEMAS
from guard.proxy.schemas.base import Schema

MODELS, HEALTH = "/v1/models", "/health"

Route = Schema | Literal["models", "health"]


class Routes:
    """What is served.

    Args:
        enforcement: Schemas that have no field for what a target needs are left out.
        embeddings: Whether embeddings are served.
    """

    def __init__(self, enforcement: Enforcement, *, embeddings: bool = False) -> None:
        self._schemas: dict[str, Schema] = {}
        self._closed: dict[str, str] = {}
        for schema in SCHEMAS:
            why = None if schema.refuses else enforcement.closed(schema.carries)
            if schema.refuses and not embeddings:
                why = "no --embeddings model is given"
            if why is None:
                self._schemas[schema.path] = schema
            else:
                self._closed[schema.path] = why

    @property
    def served(self) -> Collection[str]:
        """The paths that are served."""
        return [*self._schemas, MODELS, HEALTH]

    def schema(self, path: str) -> Schema | None:
        """The schema of a path, if it has one."""
        return self._schemas.get(path)

    def find(self, method: str, path: str) -> Route:
        """What serves a request.

        Raises:
            Refused: Nothing does (404), or not so (405).
        """
        route: Route | None = self._schemas.get(path)
        wanted = "POST"
        if path == MODELS or path.startswith(f"{MODELS}/"):
            route, wanted = "models", "GET"
        elif path == HEALTH:
            route, wanted = "health", "GET"
        if route is None:
            raise Refused("There is no such route on this server.", 404)
        if method != wanted:
            raise Refused(f"Send a {wanted} request.", 405, allow=wanted)
        return route

    def report(self) -> Iterator[str]:
        """What is served and what is not, a line each."""
        yield f"serves {', '.join(self.served)}"
        for path, why in self._closed.items():
            yield f"does not serve {path}: {why}"
