"""Every route that vLLM has is guarded, harmless or refused, and one that is not known is refused.

The table is held against two lists that vLLM gives itself: the routes of its application with
everything switched on, and the routes that its source declares, whatever switches them on.
"""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import model_hosting_container_standards
import pytest
import vllm
from fastapi import FastAPI
from starlette.routing import Mount

from guard.engine.compat.routes import ROUTES, WEBSOCKET
from guard.engine.settings import KEY
from guard.engine.verdict import Seals
from guard.server import routes
from guard.server.gate import ReadyGate
from tests.engine import endpoints
from tests.server.app import FLAGS, MODEL, Served, everything

ENTRYPOINTS = Path(vllm.__file__).parent / "entrypoints"
STANDARDS = Path(model_hosting_container_standards.__file__).parent
DECLARES = {"get", "post", "put", "delete", "patch", "head", "options", "trace", "websocket"}
# Applications of their own, on ports of their own, with which `guard serve` is not started.
OTHERS = {"launchers/dp_supervisor.py", "cli/preload.py"}
MOUNTS = {"/metrics": {"/metrics", "/metrics/"}, "/static": {"/static/{file}"}}

TABLE = {(route.method, route.path) for route in ROUTES}
FATES = {fate: [r for r in ROUTES if r.fate == fate] for fate in ("guarded", "harmless", "refused")}


# What vLLM has.


def declared() -> Iterator[tuple[str, str]]:
    """Methods and paths that vLLM's source declares."""
    for file in ENTRYPOINTS.rglob("*.py"):
        if str(file.relative_to(ENTRYPOINTS)) in OTHERS:
            continue
        for call in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(call, ast.Call):
                yield from _declared(call, file)
    for file in STANDARDS.rglob("*.py"):
        for call in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "RouteConfig":
                named = {key.arg: ast.literal_eval(key.value) for key in call.keywords}
                yield named["method"], named["path"]


def _declared(call: ast.Call, file: Path) -> Iterator[tuple[str, str]]:
    name = ast.unparse(call.func).rpartition(".")[2]
    paths = [a.value for a in call.args if isinstance(a, ast.Constant) and type(a.value) is str]
    paths = [path for path in paths if path.startswith("/")][:1]
    if name in DECLARES and paths:
        yield WEBSOCKET if name == "websocket" else name.upper(), paths[0]
    elif name in ("api_route", "add_api_route", "route", "add_route", "add_websocket_route"):
        methods = {key.arg: key.value for key in call.keywords}.get("methods")
        if not paths:  # the scale-out routes while they are off: those that are declared above
            assert str(file.relative_to(ENTRYPOINTS)) == "scale_out/factories.py"
            return
        assert methods is not None, f"{file}: {paths[0]} takes any method"
        for method in ast.literal_eval(methods):
            yield method, paths[0]
    elif name in ("mount", "Mount") and paths:
        assert paths[0] in MOUNTS, f"{file} mounts {paths[0]}"


def built(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Methods and paths of an application."""
    for route in app.routes:
        path: str = getattr(route, "path")  # noqa: B009
        if isinstance(route, Mount):
            assert path in MOUNTS, f"{path} is mounted"
            continue
        for method in getattr(route, "methods", None) or {WEBSOCKET}:
            yield method, path


VARIANTS: dict[str, tuple[list[str], bool]] = {
    "everything": ([*FLAGS, "--enable-offline-docs"], True),
    "tokens only, no development": ([*FLAGS[1:], "--tokens-only"], False),
    "nothing": ([], False),
}


@pytest.fixture(scope="module")
def apps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FastAPI]:
    folder = tmp_path_factory.mktemp("profiles")
    return {
        name: everything(folder, *flags, **({} if on else {"on": ()}))
        for name, (flags, on) in VARIANTS.items()
    }


@pytest.fixture(scope="module")
def upstream(apps: dict[str, FastAPI]) -> set[tuple[str, str]]:
    return {*declared(), *(route for app in apps.values() for route in built(app))}


def test_no_route_is_in_the_table_twice() -> None:
    assert len(TABLE) == len(ROUTES)
    assert all(route.why and route.path.startswith("/") for route in ROUTES)


def test_every_route_of_vllm_is_in_the_table(upstream: set[tuple[str, str]]) -> None:
    """Fails where vLLM brings a route, or a method of one: say in the table what becomes of it."""
    assert upstream - TABLE == set()


def test_every_route_of_the_table_is_one_of_vllm(upstream: set[tuple[str, str]]) -> None:
    mounted = {("HEAD", path) for paths in MOUNTS.values() for path in paths}
    mounted |= {("GET", path) for paths in MOUNTS.values() for path in paths}
    assert TABLE - upstream - mounted == set()


@pytest.mark.parametrize("name", VARIANTS)
def test_what_is_mounted_is_in_the_table(apps: dict[str, FastAPI], name: str) -> None:
    for route in apps[name].routes:
        if isinstance(route, Mount):
            assert {path for _, path in TABLE} >= MOUNTS[route.path]


def test_the_source_declares_what_the_application_has(apps: dict[str, FastAPI]) -> None:
    """So that reading the source has missed no way to declare a route."""
    made_by_libraries = {"/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc", "/metrics"}
    found = {route for app in apps.values() for route in built(app)}
    assert {path for _, path in found - set(declared())} == made_by_libraries


def test_no_route_of_vllm_is_where_ours_are(upstream: set[tuple[str, str]]) -> None:
    assert not any(path.split("/")[1] == routes.OWN[1:] for _, path in upstream)


# What becomes of them at run time.


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> ReadyGate:
    monkeypatch.setenv(KEY, "ab" * 32)
    gate = ReadyGate(behind)
    gate.open = True
    return gate


async def behind(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        return
    await send({"type": "http.response.start", "status": 299, "headers": []})
    await send({"type": "http.response.body", "body": b"reached"})


async def through(app: Any, path: str, method: str = "GET", **scope: Any) -> tuple[int, Any, Any]:
    """Sends a request as a server would; returns status, headers and body."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"{}"}

    whole = {"type": "http", "path": path, "method": method, "headers": [], "query_string": b""}
    await app({**whole, **scope}, receive, send)
    return sent[0].get("status", 0), dict(sent[0].get("headers", ())), sent


def example(path: str) -> str:
    return re.sub(r"\{\w+\}", "x-1", path)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_refused_routes_are_not_there_and_others_are(gate: ReadyGate, route: Any) -> None:
    path = example(route.path)
    if route.method == WEBSOCKET:
        assert route.fate == "refused"
        _, _, sent = await through(gate, path, type="websocket")
        assert sent == [{"type": "websocket.close", "code": 1008}]
        return
    status, _, sent = await through(gate, path, route.method)
    assert status == (404 if route.fate == "refused" else 299)
    preflight, _, _ = await through(gate, path, "OPTIONS")
    assert preflight == status


def beside() -> Iterator[str]:
    for path in ("/v1/chat/completions", "/health", "/v1/models", "/docs"):
        yield from (f"{path}/", f"/{path}", f"{path}/.", f"/x/..{path}", path.upper(), f"{path}\n")
        yield from (f"{path}%2f", f"{path};a", f"{path}\0", path[1:], path.replace("/", "//"))
    yield from (
        "",
        "/",
        "*",
        "/v1",
        "/v1/",
        "/api",
        "/metricsx",
        "/metrics/x",
        "/static",
        "/static/",
    )
    yield from ("/static/a/b", "/static/../x", "/v1/responses/x", "/v1/responses/x/y", "/guardx")
    yield from ("/guard.", "/v1/chat/completions/x", "/collective_rpc/", "/V1/responses", "/{file}")
    yield from ("/static/{file}/", "/v1/new_route", "/wake_up\n", "http://server/health")


@pytest.mark.parametrize("path", beside())
async def test_what_is_beside_a_route_is_not_there(gate: ReadyGate, path: str) -> None:
    for method in ("GET", "POST", "OPTIONS", "HEAD", "PROPFIND"):
        assert (await through(gate, path, method))[0] == 404, method
    _, _, sent = await through(gate, path, type="websocket")
    assert sent == [{"type": "websocket.close", "code": 1008}]


async def test_other_methods_are_not_passed_on(gate: ReadyGate) -> None:
    for path, allowed in (("/v1/chat/completions", b"POST"), ("/health", b"GET")):
        for method in {"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "TRACE", "post"}:
            if method.encode() != allowed:
                status, headers, _ = await through(gate, path, method)
                assert (status, headers[b"allow"]) == (405, allowed), method
    _, _, sent = await through(gate, "/v1/chat/completions", type="websocket")
    assert sent == [{"type": "websocket.close", "code": 1008}]


async def test_the_prefix_of_a_front_is_cut_off_as_the_router_does(gate: ReadyGate) -> None:
    for path, root, status in (
        ("/api/v1/models", "/api", 299),
        ("/v1/models", "/api", 299),
        ("/api/wake_up", "/api", 404),
        ("/apiv1/models", "/api", 404),
        ("/api", "/api", 404),
        ("/api/api/v1/models", "/api", 404),
        ("/api/guard/score", "/api", 299),
        ("/guard", "/guard", 404),
        ("/guard/wake_up", "/guard", 404),
    ):
        assert (await through(gate, path, root_path=root))[0] == status, path


async def test_our_own_routes_are_there(gate: ReadyGate) -> None:
    for path in ("/guard/score", "/guard/", "/guard", "/guard/targets/x"):
        assert (await through(gate, path, "POST"))[0] == 299


async def test_an_answer_is_constant_and_in_openai_s_schema(gate: ReadyGate) -> None:
    answers = set()
    for path in ("/wake_up", "/nothing", "/v1/models/", "/secret-target"):
        _, headers, sent = await through(gate, path, "POST")
        assert headers[b"content-type"] == b"application/json"
        answers.add(sent[1]["body"])
    (answer,) = answers
    assert set(httpx.Response(404, content=answer).json()["error"]) == {
        "message", "type", "param", "code",
    }  # fmt: skip


async def test_a_probe_reaches_no_refused_route(gate: ReadyGate) -> None:
    gate.open = False
    headers = [(b"x-guard-probe", Seals(bytes.fromhex("ab" * 32)).token("gate").encode())]
    assert (await through(gate, "/v1/completions", "POST", headers=headers))[0] == 299
    assert (await through(gate, "/collective_rpc", "POST", headers=headers))[0] == 404


@pytest.mark.parametrize("name", VARIANTS)
async def test_vllm_s_own_application_is_reached_where_the_table_says(
    apps: dict[str, FastAPI], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real router behind the gate: what it would serve and the table refuses stays shut."""
    monkeypatch.setenv(KEY, "ab" * 32)
    gate = ReadyGate(apps[name])
    gate.open = True
    transport = httpx.ASGITransport(app=gate)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        for method, path in built(apps[name]):
            refused = any(r.path == path and r.fate == "refused" for r in ROUTES)
            if refused and method != WEBSOCKET:
                answer = await client.request(method, example(path))
                assert answer.status_code == 404
                assert "no such route" in answer.json()["error"]["message"]
        for path in ("/openapi.json", "/docs", "/version", "/metrics", "/metrics/", "/v1/models/"):
            wanted = 404 if path == "/v1/models/" else 200
            assert (await client.get(path)).status_code == wanted, path
        encoded = await client.request("POST", "/%63ollective_rpc", json={})
        assert encoded.status_code == 404


# That guarded ones are: each handler ends in the engine client, where the guard sits.

CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "Who?"}], "max_tokens": 4}
PROMPT = {"model": MODEL, "prompt": "Who?", "max_tokens": 4}
TEXT = {"model": MODEL, "input": "Who?"}
RANK = {"model": MODEL, "query": "Who?", "documents": ["Nobody.", "Somebody."]}
SCORE = {"model": MODEL, "text_1": "Who?", "text_2": "Nobody."}
CHOICE = {"yes": "It is.", "no": "It is not."}
QUESTION = {"one": {"type": "choice", "instructions": "Is it so?", "criteria": CHOICE}}

BODIES: dict[str, Any] = {
    "/v1/chat/completions": CHAT,
    "/v1/chat/completions/batch": {**CHAT, "messages": [CHAT["messages"]]},
    "/v1/completions": PROMPT,
    "/v1/responses": TEXT,
    "/v1/messages": CHAT,
    "/inference/v1/generate": {"model": MODEL, "token_ids": [1], "sampling_params": {}},
    "/invocations": CHAT,
    "/generative_scoring": {
        "model": MODEL, "query": "Who?", "items": ["Nobody."], "label_token_ids": [5, 6],
    },
    "/v1/systemone": {"model": MODEL, "state": "It rains.", "questions": QUESTION},
    "/v1/embeddings": TEXT,
    "/v2/embed": {"model": MODEL, "texts": ["Who?"]},
    "/pooling": TEXT,
    "/classify": TEXT,
    "/score": SCORE,
    "/v1/score": SCORE,
    "/rerank": RANK,
    "/v1/rerank": RANK,
    "/v2/rerank": RANK,
}  # fmt: skip
POOLED = {"/v1/embeddings", "/v2/embed", "/pooling", "/score", "/v1/score"}
POOLED |= {"/rerank", "/v1/rerank", "/v2/rerank"}
UNASKED = {"/cohere/v2/chat"}  # needs Cohere's own package; see below

HARMLESS: dict[str, Any] = {
    "/tokenize": PROMPT,
    "/detokenize": {"model": MODEL, "tokens": [5]},
    "/v1/messages/count_tokens": CHAT,
    "/v1/chat/completions/render": CHAT,
    "/v1/completions/render": PROMPT,
    "/v1/messages/render": CHAT,
    "/v1/responses/render": TEXT,
}


@pytest.fixture(scope="module")
def generating() -> Iterator[Served]:
    from vllm.entrypoints.generate.structured_decisions import strategies

    with pytest.MonkeyPatch.context() as patch:  # as if the model were one that decides
        kinds = {"LlamaForCausalLM": strategies.NextTokenStrategy}
        patch.setattr(strategies, "READ_STRATEGIES", kinds)
        yield Served(("generate",))


@pytest.fixture(scope="module")
def embedding() -> Served:
    return Served(("embed",), "--runner", "pooling", "--convert", "embed")


@pytest.fixture(scope="module")
def classifying() -> Served:
    return Served(("classify",), "--runner", "pooling", "--convert", "classify")


def test_every_guarded_route_is_asked() -> None:
    assert {route.path for route in FATES["guarded"]} == BODIES.keys() | UNASKED


@pytest.mark.parametrize("path", BODIES)
def test_a_guarded_route_ends_in_the_engine_client(
    path: str, request: pytest.FixtureRequest
) -> None:
    pooled = "classifying" if path == "/classify" else "embedding"
    kind = pooled if path in POOLED or path == "/classify" else "generating"
    served: Served = request.getfixturevalue(kind)
    answer = served.ask("POST", path, BODIES[path])
    params = "SamplingParams" if kind == "generating" else "PoolingParams"
    assert set(served.engine.asked) == {params}, answer.text
    assert served.engine.reached == []
    assert answer.status_code >= 400, "it answered without the engine"


def test_invocations_end_in_the_engine_client_for_pooling_too(embedding: Served) -> None:
    embedding.ask("POST", "/invocations", TEXT)
    assert set(embedding.engine.asked) == {"PoolingParams"}


@pytest.mark.parametrize("path", HARMLESS)
def test_a_harmless_route_asks_no_engine(generating: Served, path: str) -> None:
    answer = generating.ask("POST", path, HARMLESS[path])
    assert answer.status_code == 200, answer.text
    assert generating.engine.asked == generating.engine.reached == []


PAGES = ["/v1/models", "/version", "/tokenizer_info", "/openapi.json", "/docs", "/redoc"]
PAGES += ["/docs/oauth2-redirect", "/health", "/ping", "/load", "/metrics"]


@pytest.mark.parametrize("path", PAGES)
def test_a_harmless_page_asks_no_engine(generating: Served, path: str) -> None:
    assert generating.ask("GET", path).status_code == 200
    assert generating.engine.asked == generating.engine.reached == []


def test_derendering_knows_no_engine() -> None:
    """It reads what an engine has answered: its bodies are long, and its source is short."""
    source = (ENTRYPOINTS / "scale_out/derender/serving.py").read_text("utf-8")
    assert "class ServingDerender" in source and "engine_client" not in source


def test_cohere_s_chat_is_openai_s() -> None:
    """Its package is not installed, so its source is read: it asks only by the chat handler."""
    source = (ENTRYPOINTS / "cohere/serving.py").read_text("utf-8")
    assert "class CohereServingChatV2(OpenAIServingChat)" in source
    assert "self.create_chat_completion(" in source
    assert "engine_client." not in source and "engine_core" not in source


# The live tests that ask a guarded engine: route to the functions of `tests/engine/endpoints.py`.
LIVE = {
    "/v1/chat/completions": "chat",
    "/v1/chat/completions/batch": "chat_batch",
    "/v1/completions": "completion",
    "/v1/responses": "responses",
    "/v1/messages": "messages",
    "/invocations": "invocations",
    "/inference/v1/generate": "tokens_in_tokens_out",
}
LIVE_ELSEWHERE = {
    "/generative_scoring": "test_live_leaks:test_scoring_labels_gives_no_probability",
}


@pytest.mark.parametrize("path", LIVE)
def test_a_live_test_asks_the_route(path: str) -> None:
    assert LIVE[path] in endpoints.ENDPOINTS
    function = endpoints.ENDPOINTS[LIVE[path]]
    assert path in function.__code__.co_consts


@pytest.mark.parametrize("path", LIVE_ELSEWHERE)
def test_another_live_test_asks_the_route(path: str) -> None:
    module, _, name = LIVE_ELSEWHERE[path].partition(":")
    function = getattr(importlib.import_module(f"tests.engine.{module}"), name)
    assert path in function.__code__.co_consts


def test_the_page_tells_every_route() -> None:
    page = (Path(__file__).parents[2] / "docs/routes.md").read_text("utf-8")
    for text, fate in zip(_parts(page), ("guarded", "harmless", "refused"), strict=True):
        assert set(re.findall(r"`(/[^`]+)`", text)) == {route.path for route in FATES[fate]}


def _parts(page: str) -> list[str]:
    """The page's three tables."""
    pieces = re.split(r"^\| (?:guarded|harmless|refused) \|.*$", page, flags=re.M)[1:]
    return [piece.strip().partition("\n\n")[0] for piece in pieces]
