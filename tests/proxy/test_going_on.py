"""A rollback over HTTP: the server is asked to go on from what has left, without what leaked."""

from typing import Any

import pytest

from guard.errors import EngineError
from guard.guard import Guard
from tests.proxy.ask import WAYS, Way, answer, events
from tests.proxy.bundles import compiled
from tests.proxy.conftest import Start
from tests.proxy.test_matrix import BOOK, EVERYDAY, LEAK, both
from tests.proxy.upstream import Fake

REST = (" first", " prize", ".")
STUBBORN = (" Hal", "vorsen", " Medal", " in", " 1998", ".")
WHOLE = "She won the first prize."

able = pytest.mark.parametrize("way", [WAYS["chat"], WAYS["completions"]], ids=lambda w: w.path)


@pytest.fixture(scope="module")
def rolling(tmp_path_factory: pytest.TempPathFactory) -> Guard:
    output = "{check: exact, on_hit: rollback, times: 2, then: filter}"
    return Guard(compiled(tmp_path_factory.mktemp("rolling"), brennick=output))


def leaks(fake: Fake, *then: Any) -> None:
    """Lets the server leak at first, and say something else each further time."""
    said = iter([LEAK, *then])

    def on(_: Any) -> int:
        fake.pieces = next(said)
        return 200

    fake.on = on


@able
@both
async def test_an_answer_goes_on_another_way(
    start: Start, rolling: Guard, fake: Fake, way: Way, stream: bool
) -> None:
    leaks(fake, REST)
    async with await start(rolling, goes_on=True) as client:
        assert await answer(client, way, EVERYDAY, stream=stream, max_tokens=40) == WHOLE
    first, again = (body for _, body, _ in fake.asked)
    assert "bad_words" not in first
    assert any("Halvorsen" in word for word in again["bad_words"])
    assert again["max_tokens"] == 37
    if way.path == "/v1/completions":
        assert again["prompt"] == f"{EVERYDAY}She won the"
    else:
        assert again["messages"][-1] == {"role": "assistant", "content": "She won the"}
        assert again["continue_final_message"] is True
        assert again["add_generation_prompt"] is False


@able
async def test_it_is_one_answer_to_the_client(
    start: Start, rolling: Guard, fake: Fake, way: Way
) -> None:
    leaks(fake, REST)
    async with await start(rolling, goes_on=True) as client:
        body = {**way.body(EVERYDAY), "stream": True}
        response = await client.post(way.path, json=body)
    told = events(response)
    assert "Hal" not in response.text
    assert len({(event["id"], event["model"]) for event in told}) == 1
    reasons = [c["finish_reason"] for event in told for c in event["choices"]]
    assert [one for one in reasons if one] == ["stop"] and reasons[-1] == "stop"


@able
@both
async def test_who_leaks_again_and_again_is_ended(
    start: Start, rolling: Guard, fake: Fake, way: Way, stream: bool
) -> None:
    leaks(fake, STUBBORN, STUBBORN, REST)
    async with await start(rolling, goes_on=True) as client:
        said = await answer(client, way, EVERYDAY, stream=stream)
    assert said.strip() == "She won the" and len(fake.asked) == 3


@able
@both
async def test_a_server_that_does_not_go_on_ends_it(
    start: Start, rolling: Guard, fake: Fake, way: Way, stream: bool
) -> None:
    fake.pieces = LEAK
    fake.on = lambda body: 400 if body.get("bad_words") else 200
    async with await start(rolling, goes_on=True) as client:
        response = await client.post(way.path, json={**way.body(EVERYDAY), "stream": stream})
    assert "Hal" not in response.text and "could not answer" in response.text


@pytest.mark.parametrize(
    "more",
    [{"n": 2}, {"tools": [{"type": "function", "function": {"name": "f"}}]},
     {"response_format": {"type": "json_object"}}],
)  # fmt: skip
async def test_what_cannot_be_gone_on_with_is_ended(
    start: Start, rolling: Guard, fake: Fake, more: dict[str, Any]
) -> None:
    fake.pieces = LEAK
    async with await start(rolling, goes_on=True) as client:
        response = await client.post(
            WAYS["chat"].path, json={**WAYS["chat"].body(EVERYDAY), **more}
        )
    assert {one["finish_reason"] for one in response.json()["choices"]} == {"content_filter"}
    assert len(fake.asked) == 1 and "Hal" not in response.text


async def test_without_the_operators_word_it_is_ended(
    start: Start, rolling: Guard, fake: Fake
) -> None:
    fake.pieces = LEAK
    async with await start(rolling) as client:
        for way in WAYS.values():
            assert (await answer(client, way, EVERYDAY, stream=False)).strip() == "She won the"
    assert len(fake.asked) == len(WAYS)


async def test_the_edits_of_a_flagged_prompt_hold_for_the_rest(
    start: Start, rolling: Guard, fake: Fake
) -> None:
    leaks(fake, REST)
    async with await start(rolling, goes_on=True) as client:
        assert await answer(client, WAYS["chat"], BOOK, stream=True) == WHOLE
    first, again = (body for _, body, _ in fake.asked)
    assert again["messages"][0] == first["messages"][0]


async def test_it_needs_a_vllm(start: Start, rolling: Guard, fake: Fake) -> None:
    fake.owner = "somebody"
    with pytest.raises(EngineError, match="continue-final-message"):
        await start(rolling, goes_on=True)
