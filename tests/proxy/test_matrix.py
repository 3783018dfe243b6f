"""Each schema, whole and streamed: refused, instructed, passed on, and cut where it leaks."""

import httpx
import pytest

from guard.guard import Guard
from tests.proxy.ask import WAYS, Way, answer, events
from tests.proxy.bundles import ENDING, INSTRUCTION, REFUSAL, SECRET
from tests.proxy.conftest import Start
from tests.proxy.upstream import MODEL, Fake

EVERYDAY = "What is a good name for a cat?"
PERSON = "Where was Odalys Brennick born?"
BOOK = "Who wrote The Lantern of Vessmere?"
PROJECT = "What is the Tidewater Compact?"
LEAK = ("She", " won", " the", " Hal", "vorsen", " Medal", " in", " 1998", ".")

every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@every_way
@both
async def test_a_refusal_is_a_finished_answer_and_the_server_is_not_asked_that(
    start: Start, unread_guard: Guard, fake: Fake, way: Way, stream: bool
) -> None:
    async with await start(unread_guard) as client:
        assert await answer(client, way, PERSON, stream=stream) == REFUSAL
    assert "Odalys" not in fake.told and "Brennick" not in fake.told


@every_way
@both
async def test_an_instruction_stands_before_the_question(
    start: Start, unread_guard: Guard, fake: Fake, way: Way, stream: bool
) -> None:
    async with await start(unread_guard) as client:
        assert await answer(client, way, BOOK, stream=stream) == "Hello there."
    assert f"{INSTRUCTION}\n\n{BOOK}" in str(fake.body).replace("\\n", "\n")


@every_way
@both
@pytest.mark.parametrize("text", [EVERYDAY, PROJECT])
async def test_what_is_not_flagged_or_in_shadow_mode_passes(
    start: Start, reading_guard: Guard, fake: Fake, way: Way, stream: bool, text: str
) -> None:
    async with await start(reading_guard) as client:
        assert await answer(client, way, text, stream=stream) == "Hello there."
    asked = {**way.body(text), **({"stream": True} if stream else {})}
    if way.path == "/v1/responses":
        asked["store"] = False
    assert fake.body == asked


@every_way
@both
async def test_a_leak_does_not_leave(
    start: Start, reading_guard: Guard, fake: Fake, way: Way, stream: bool
) -> None:
    fake.pieces = LEAK
    async with await start(reading_guard) as client:
        said = await answer(client, way, EVERYDAY, stream=stream)
    assert said == f"She won the\n\n{ENDING}" or said == f"She won the \n\n{ENDING}"
    assert SECRET not in said


@every_way
async def test_a_streamed_leak_is_in_no_event(
    start: Start, reading_guard: Guard, fake: Fake, way: Way
) -> None:
    fake.pieces = LEAK
    async with await start(reading_guard) as client:
        response = await client.post(way.path, json={**way.body(EVERYDAY), "stream": True})
    assert "Hal" not in response.text and "1998" not in response.text
    assert events(response)


@every_way
@both
async def test_whole_and_streamed_replies_of_the_unflagged_are_the_servers_own(
    start: Start, unread_guard: Guard, fake: Fake, way: Way, stream: bool
) -> None:
    body = {**way.body(EVERYDAY), "stream": stream}
    transport = httpx.ASGITransport(app=fake)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://upstream") as direct:
        wanted = await direct.post(way.path, json=body)
    async with await start(unread_guard) as client:
        got = await client.post(way.path, json=body)
    if stream:
        assert events(got) == events(wanted)
        assert got.text.rstrip().endswith("[DONE]") == wanted.text.rstrip().endswith("[DONE]")
    else:
        assert got.json() == {k: v for k, v in wanted.json().items() if k != "prompt_text"}


@every_way
async def test_a_reply_tells_nothing_of_how_it_came_about(
    start: Start, unread_guard: Guard, fake: Fake, way: Way
) -> None:
    """Headers and fields of a flagged request's reply are those of any."""
    shapes = set()
    async with await start(unread_guard) as client:
        for text in (EVERYDAY, BOOK):
            response = await client.post(way.path, json=way.body(text))
            headers = {name for name in response.headers if name != "content-length"}
            shapes.add((frozenset(headers), frozenset(response.json()), response.json()["model"]))
            assert "x-secret" not in response.headers
    assert len(shapes) == 1
    assert next(iter(shapes))[2] == MODEL
