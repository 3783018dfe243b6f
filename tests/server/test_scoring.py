"""The route that scores: only for who knows the token, and every bad body is told what is wrong."""

from typing import Any

import httpx
import pytest

from guard.engine.evaluation import evaluating
from guard.engine.settings import EVALUATION
from guard.errors import EngineError
from guard.server.scoring import MOST, MOST_BYTES, PATH, ScoreRoute

TOKEN = "0123456789abcdef" * 2
GOOD = {"prompts": ["Who?"], "answers": ["Nobody."]}


async def app(scope: Any, receive: Any, send: Any) -> None:
    """What is behind the route."""
    await send({"type": "http.response.start", "status": 418, "headers": []})
    await send({"type": "http.response.body", "body": b"passed on"})


@pytest.fixture
def route(monkeypatch: pytest.MonkeyPatch) -> ScoreRoute:
    monkeypatch.setenv(EVALUATION, TOKEN)
    return ScoreRoute(app)


async def ask(
    route: ScoreRoute, path: str = PATH, method: str = "POST", token: str = TOKEN, **more: Any
) -> httpx.Response:
    transport = httpx.ASGITransport(app=route)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        headers = {"authorization": f"Bearer {token}"}
        return await client.request(method, path, headers=headers, **more)


async def test_without_a_token_at_the_start_there_is_no_route(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(EVALUATION, raising=False)
    answer = await ask(ScoreRoute(app), json=GOOD)
    assert answer.status_code == 418


async def test_other_paths_are_passed_on(route: ScoreRoute) -> None:
    for path in ("/v1/chat/completions", "/guard/scores", "/guard", f"{PATH}/more"):
        assert (await ask(route, path, json=GOOD)).status_code == 418


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], TOKEN + "0", TOKEN.upper()])
async def test_who_does_not_know_the_token_is_told_nothing(route: ScoreRoute, token: str) -> None:
    answer = await ask(route, token=token, content=b"not even JSON")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["error"]["code"] == 401


async def test_only_post_is_taken(route: ScoreRoute) -> None:
    assert (await ask(route, method="GET")).status_code == 405


BAD: list[tuple[Any, str]] = [
    ({}, "prompts"),
    ({"prompts": [], "answers": []}, "prompts"),
    ({"prompts": ["a"], "answers": []}, "1 prompts, but 0 answers"),
    ({"prompts": ["a"], "answers": [""]}, "answers.0"),
    ({"prompts": ["a"] * (MOST + 1), "answers": ["b"] * (MOST + 1)}, "prompts"),
    ({"prompts": [[{"role": "tool", "content": "x"}]], "answers": ["b"]}, "prompts.0"),
    ({"prompts": [[{"role": "user", "content": "x"}]], "answers": ["b"], "chat": False}, "texts"),
    ({**GOOD, "adapter": "x"}, "adapter"),
]


@pytest.mark.parametrize(("body", "says"), BAD)
async def test_a_bad_body_is_told_what_is_wrong(route: ScoreRoute, body: Any, says: str) -> None:
    answer = await ask(route, json=body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert says in error["message"]


async def test_a_body_that_is_too_large_is_refused(route: ScoreRoute) -> None:
    assert (await ask(route, content=b" " * (MOST_BYTES + 1))).status_code == 413


async def test_an_engine_that_cannot_score_says_no_more_than_that(
    route: ScoreRoute, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(state: Any, body: Any) -> Any:
        raise EngineError(f"broke at {body.prompts}")

    monkeypatch.setattr("guard.server.scoring.scores", fail)

    class Application:
        state = None

    async def scoped(scope: Any, receive: Any, send: Any) -> None:
        await route({**scope, "app": Application}, receive, send)

    answer = await ask(scoped, json=GOOD)  # type: ignore[arg-type]
    assert answer.status_code == 503
    assert "Who" not in answer.text


def test_a_short_token_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(EVALUATION, "hunter2")
    with pytest.raises(EngineError, match="32 characters"):
        ScoreRoute(app)


def test_nobody_evaluates_unless_marked() -> None:
    assert evaluating.get() is False
