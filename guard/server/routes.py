"""What a request may reach: what is in the table, and our own routes. The rest is not there."""

from collections.abc import Mapping
from typing import Any

from guard.engine.compat import routes

OWN = "/guard"  # everything below it is answered by Guard's own middleware, each behind its token

_SERVED = routes.served()
_TEMPLATES = [(routes.pattern(path), path) for path in _SERVED if "{" in path]


def methods(path: str) -> frozenset[str] | None:
    """The methods that a path is served with; None where it is not served.

    Args:
        path: As the router reads it, decoded, without the prefix of a front.
    """
    if path in _SERVED and "{" not in path:
        return _SERVED[path]
    for pattern, template in _TEMPLATES:
        if pattern.match(path):
            return _SERVED[template]
    return None


def refused(scope: Mapping[str, Any]) -> frozenset[str] | None:
    """Whether a request is refused.

    Args:
        scope: The ASGI scope of an HTTP request or a websocket.

    Returns:
        None where it goes on. Else the methods that its path is served with: none, where there is
        no such path at all.
    """
    path = routes.path_of(scope)
    if path == OWN or path.startswith(f"{OWN}/"):
        return None
    known = methods(path) or frozenset()
    method = routes.WEBSOCKET if scope["type"] == "websocket" else scope["method"]
    # OPTIONS is what a browser asks before it asks; no handler ever sees it.
    if method in known or (known and method == "OPTIONS"):
        return None
    return known
