"""Every route that vLLM's server has, under whatever flag or variable, and what becomes of it.

A route that is not here is not served (`guard.server.routes`), so a release of vLLM that brings new
ones brings none that nobody has looked at. `tests/server/test_routes.py` holds the table against
vLLM's source and against the application with everything switched on.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

# guarded: what it answers comes from the engine client's `generate` or `encode`, and so past the
#   guard, to which every request of either goes.
# harmless: it asks no model, and tells nothing of other clients' requests but numbers.
# refused: it is not served.
Fate = Literal["guarded", "harmless", "refused"]

WEBSOCKET = "WEBSOCKET"  # stands where a route has no method


@dataclass(frozen=True)
class Route:
    """A route.

    Attributes:
        method: Its method; ``WEBSOCKET`` for a websocket.
        path: Its path, as vLLM writes it; ``{name}`` stands for one segment.
        fate: What becomes of it.
        why: Why so.
    """

    method: str
    path: str
    fate: Fate
    why: str


def _routes(fate: Fate, why: str, listed: str) -> Iterator[Route]:
    for line in listed.splitlines():
        methods, _, path = line.strip().partition(" ")
        for method in filter(None, methods.split(",")):
            yield Route(method, path, fate, why)


ROUTES: tuple[Route, ...] = (
    *_routes(
        "guarded",
        "what it answers is generated",
        """
        POST /v1/chat/completions
        POST /v1/chat/completions/batch
        POST /v1/completions
        POST /v1/responses
        POST /v1/messages
        POST /cohere/v2/chat
        POST /inference/v1/generate
        POST /invocations
        """,
    ),
    *_routes(
        "guarded",
        "what it answers are probabilities: of a flagged prompt there are none",
        """
        POST /generative_scoring
        POST /v1/systemone
        """,
    ),
    *_routes(
        "guarded",
        "what it answers is made of a prompt's vectors: a flagged prompt has none",
        """
        POST /v1/embeddings
        POST /v2/embed
        POST /pooling
        POST /classify
        POST /score
        POST /v1/score
        POST /rerank
        POST /v1/rerank
        POST /v2/rerank
        """,
    ),
    *_routes(
        "harmless",
        "it writes what the client sends in tokens, or its tokens in text, and asks no engine",
        """
        POST /tokenize
        POST /detokenize
        POST /v1/messages/count_tokens
        POST /v1/chat/completions/render
        POST /v1/chat/completions/derender
        POST /v1/completions/render
        POST /v1/completions/derender
        POST /v1/messages/render
        POST /v1/responses/render
        POST /cohere/v2/chat/render
        """,
    ),
    *_routes(
        "harmless",
        "it says what the operator has configured, to every client the same",
        """
        GET /v1/models
        GET /version
        GET /tokenizer_info
        GET,HEAD /openapi.json
        GET,HEAD /docs
        GET,HEAD /docs/oauth2-redirect
        GET,HEAD /redoc
        GET,HEAD /static/{file}
        """,
    ),
    *_routes(
        "harmless",
        "it says how the server is, in a status or a number",
        """
        GET /health
        GET,POST /ping
        GET /load
        POST /is_scaling_elastic_ep
        """,
    ),
    *_routes(
        "harmless",
        "numbers for the operator; they name targets, so it is the operator who keeps clients off",
        """
        GET,HEAD /metrics
        GET,HEAD /metrics/
        """,
    ),
    *_routes(
        "refused",
        "audio cannot be read",
        """
        POST /v1/audio/transcriptions
        POST /v1/audio/translations
        WEBSOCKET /v1/realtime
        """,
    ),
    *_routes(
        "refused",
        "a stored answer was judged by the bundle of its time, and would come out unjudged by this",
        """
        GET /v1/responses/{response_id}
        POST /v1/responses/{response_id}/cancel
        """,
    ),
    *_routes(
        "refused",
        "a client would end what other clients have asked",
        """
        POST /inference/v1/abort_requests
        POST /abort_requests
        """,
    ),
    *_routes(
        "refused",
        "it says where the tokens of all prompts are published",
        """
        GET /kv_event_sources
        """,
    ),
    *_routes(
        "refused",
        "a client would choose or change the weights that answer",
        """
        POST /v1/load_lora_adapter
        POST /v1/unload_lora_adapter
        POST /adapters
        DELETE /adapters/{adapter_name}
        POST /init_weight_transfer_engine
        POST /shutdown_weight_transfer_engine
        POST /start_weight_update
        POST /start_draft_weight_update
        POST /update_weights
        POST /finish_weight_update
        POST /update_weight_version
        GET /weight_info
        POST /weight_checker
        """,
    ),
    *_routes(
        "refused",
        "it starts, stops or mends engines; those that were proved are those that answer",
        """
        POST /scale_elastic_ep
        POST /fault_tolerance/apply
        GET /fault_tolerance/status
        POST /pause
        POST /resume
        GET /is_paused
        POST /sleep
        POST /wake_up
        POST /release_kv_cache_memory
        GET /is_sleeping
        GET /get_world_size
        """,
    ),
    *_routes(
        "refused",
        "it is for the development of vLLM: it looks into the server, or slows it down",
        """
        POST /collective_rpc
        GET /server_info
        POST /reset_prefix_cache
        POST /reset_mm_cache
        POST /reset_encoder_cache
        POST /start_profile
        POST /stop_profile
        """,
    ),
)


def served(routes: tuple[Route, ...] = ROUTES) -> Mapping[str, frozenset[str]]:
    """The methods of each path that is served."""
    found: dict[str, frozenset[str]] = {}
    for route in routes:
        if route.fate != "refused":
            found[route.path] = found.get(route.path, frozenset()) | {route.method}
    return found


def pattern(path: str) -> re.Pattern[str]:
    """What a path with ``{name}`` in it matches, to the last character."""
    pieces = re.split(r"\{\w+\}", path)
    return re.compile("[^/]+".join(map(re.escape, pieces)) + r"\Z")


def path_of(scope: Mapping[str, Any]) -> str:
    """A request's path as the application's router reads it: the prefix of a front is cut off."""
    from starlette._utils import get_route_path

    path: str = get_route_path(scope)  # type: ignore[arg-type]
    return path
