"""The real `openai` client, through the proxy on sockets and guarded in its own process."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from pydantic import BaseModel

from guard import AsyncGuardedClient, GuardedClient
from guard.errors import EngineError
from guard.guard import Guard
from tests.proxy.bundles import ENDING, REFUSAL
from tests.proxy.test_matrix import BOOK, EVERYDAY, LEAK, PERSON
from tests.proxy.upstream import MODEL, Fake


@pytest.fixture(params=["proxy", "in process"])
def client(
    request: pytest.FixtureRequest, server: tuple[Fake, str], proxy: str, reading_guard: Guard
) -> Iterator[openai.OpenAI]:
    if request.param == "proxy":
        with openai.OpenAI(base_url=f"{proxy}/v1", api_key="k", max_retries=0) as one:
            yield one
    else:
        with GuardedClient(f"{server[1]}/v1", guard=reading_guard, max_retries=0) as one:
            yield one


def said(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def test_chat(client: openai.OpenAI, served_fake: Fake) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=said(EVERYDAY))
    assert answer.choices[0].message.content == served_fake.text
    assert answer.usage is not None and answer.usage.prompt_tokens == 50
    refused = client.chat.completions.create(model=MODEL, messages=said(PERSON), n=2)
    assert [one.message.content for one in refused.choices] == [REFUSAL, REFUSAL]
    assert [one.finish_reason for one in refused.choices] == ["stop", "stop"]
    assert refused.usage is not None and refused.usage.prompt_tokens > 5


def test_chat_streamed(client: openai.OpenAI, served_fake: Fake) -> None:
    for text, wanted in ((EVERYDAY, served_fake.text), (PERSON, REFUSAL)):
        options: Any = {"include_usage": True}
        with client.chat.completions.create(
            model=MODEL, messages=said(text), stream=True, stream_options=options
        ) as stream:
            chunks = list(stream)
        told = [one.choices[0] for one in chunks if one.choices]
        assert "".join(one.delta.content or "" for one in told) == wanted
        assert told[-1].finish_reason == "stop"
        assert chunks[-1].usage is not None


def test_a_leak_ends_a_stream(client: openai.OpenAI, served_fake: Fake) -> None:
    served_fake.pieces = LEAK
    with client.chat.completions.stream(model=MODEL, messages=said(EVERYDAY)) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.content in (
        f"She won the \n\n{ENDING}", f"She won the\n\n{ENDING}"
    )  # fmt: skip
    assert final.choices[0].finish_reason == "stop"


def test_completions(client: openai.OpenAI, served_fake: Fake) -> None:
    for text, wanted in ((EVERYDAY, served_fake.text), (PERSON, REFUSAL)):
        answer = client.completions.create(model=MODEL, prompt=[text, "And a dog?"])
        assert [one.text for one in answer.choices] == [wanted, wanted]
        stream = client.completions.create(model=MODEL, prompt=text, stream=True)
        assert "".join(one.choices[0].text for one in stream) == wanted


def test_responses(client: openai.OpenAI, served_fake: Fake) -> None:
    for text, wanted in ((EVERYDAY, served_fake.text), (PERSON, REFUSAL)):
        answer = client.responses.create(model=MODEL, input=text, instructions="Be brief.")
        assert (answer.output_text, answer.status) == (wanted, "completed")
        assert answer.instructions == "Be brief."
        with client.responses.stream(model=MODEL, input=text) as stream:
            final = stream.get_final_response()
        assert final.output_text == wanted


def test_a_leak_ends_a_streamed_response(client: openai.OpenAI, served_fake: Fake) -> None:
    served_fake.pieces = LEAK
    with client.responses.stream(model=MODEL, input=EVERYDAY) as stream:
        final = stream.get_final_response()
    assert final.output_text.endswith(ENDING)
    assert "Hal" not in final.model_dump_json()


TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Tells the weather.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]


def test_tools(client: openai.OpenAI, served_fake: Fake) -> None:
    served_fake.calls = [("weather", '{"city": "Leeds"}')]
    create = client.chat.completions.create
    answer = create(model=MODEL, messages=said(EVERYDAY), tools=TOOLS)
    (call,) = answer.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert (call.function.name, call.function.arguments) == served_fake.calls[0]
    chunks = list(create(model=MODEL, messages=said(EVERYDAY), tools=TOOLS, stream=True))
    deltas = [one for chunk in chunks for one in chunk.choices[0].delta.tool_calls or []]
    told = "".join((one.function and one.function.arguments) or "" for one in deltas)
    assert told == '{"city": "Leeds"}'
    assert served_fake.body["tools"] == TOOLS


def test_a_leak_in_a_tool_call_does_not_leave(client: openai.OpenAI, served_fake: Fake) -> None:
    served_fake.calls = [("weather", '{"city": "where Ketil Rasmund lives"}')]
    create = client.chat.completions.create
    whole = create(model=MODEL, messages=said(EVERYDAY), tools=TOOLS)
    assert "Ketil" not in whole.model_dump_json()
    assert not whole.choices[0].message.tool_calls
    chunks = list(create(model=MODEL, messages=said(EVERYDAY), tools=TOOLS, stream=True))
    assert "Ket" not in "".join(one.model_dump_json() for one in chunks)


def test_the_name_of_a_tool_is_read_too(client: openai.OpenAI, served_fake: Fake) -> None:
    served_fake.calls = [("Ketil Rasmund", "{}")]
    create = client.chat.completions.create
    whole = create(model=MODEL, messages=said(EVERYDAY), tools=TOOLS)
    assert "Ketil" not in whole.model_dump_json()
    chunks = list(create(model=MODEL, messages=said(EVERYDAY), tools=TOOLS, stream=True))
    assert "Ketil" not in "".join(one.model_dump_json() for one in chunks)
    response = client.responses.create(model=MODEL, input=EVERYDAY)
    assert "Ketil" not in response.model_dump_json()


class Cat(BaseModel):
    name: str


def test_a_structured_answer_is_parsed(client: openai.OpenAI, served_fake: Fake) -> None:
    served_fake.pieces = ['{"na', 'me": "T', 'om"}']
    answer = client.chat.completions.parse(
        model=MODEL, messages=said(EVERYDAY), response_format=Cat
    )
    assert answer.choices[0].message.parsed == Cat(name="Tom")
    parsed = client.responses.parse(model=MODEL, input=EVERYDAY, text_format=Cat)
    assert parsed.output_parsed == Cat(name="Tom")


def test_errors_are_the_clients_own(client: openai.OpenAI, served_fake: Fake) -> None:
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="gpt-9", messages=said(EVERYDAY))
    with pytest.raises(openai.BadRequestError, match="temperatur"):
        client.chat.completions.create(
            model=MODEL, messages=said(EVERYDAY), extra_body={"temperatur": 1}
        )
    served_fake.status = 400
    with pytest.raises(openai.BadRequestError, match="no such thing"):
        client.chat.completions.create(model=MODEL, messages=said(EVERYDAY))
    served_fake.status = 500
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model=MODEL, messages=said(EVERYDAY))
    assert "no such thing" not in str(caught.value)


def test_models(client: openai.OpenAI, served_fake: Fake) -> None:
    assert [one.id for one in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).id == MODEL
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("forget-book")


def test_a_client_that_goes_away_is_left_upstream_too(
    client: openai.OpenAI, served_fake: Fake
) -> None:
    served_fake.pieces, served_fake.pause = [" word"] * 500, 0.02
    stream = client.chat.completions.create(model=MODEL, messages=said(EVERYDAY), stream=True)
    next(iter(stream))
    next(iter(stream))
    stream.close()
    deadline = time.monotonic() + 20
    while not served_fake.closed and time.monotonic() < deadline:
        time.sleep(0.02)
    assert served_fake.closed == 1
    assert served_fake.sent < 500


def test_a_copy_of_a_guarded_client_is_guarded(
    server: tuple[Fake, str], served_fake: Fake, reading_guard: Guard
) -> None:
    with GuardedClient(f"{server[1]}/v1", guard=reading_guard) as client:
        copied = client.with_options(max_retries=0, timeout=20)
        answer = copied.chat.completions.create(model=MODEL, messages=said(PERSON))
    assert answer.choices[0].message.content == REFUSAL
    assert "Odalys" not in served_fake.told


def test_raw_responses_are_guarded(
    server: tuple[Fake, str], served_fake: Fake, reading_guard: Guard
) -> None:
    with GuardedClient(f"{server[1]}/v1", guard=reading_guard, max_retries=0) as client:
        raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=said(PERSON))
        assert REFUSAL in raw.text
        for path in ("/files", "/audio/speech", "/fine_tuning/jobs", "/conversations"):
            with pytest.raises(openai.NotFoundError):
                client.post(path, body={"input": PERSON}, cast_to=dict)
    assert "Odalys" not in served_fake.told


def test_a_guarded_client_takes_no_transport_and_no_other_server(
    server: tuple[Fake, str], reading_guard: Guard
) -> None:
    with pytest.raises(EngineError, match="http_client"):
        GuardedClient("http://x/v1", guard=reading_guard, http_client=openai.DefaultHttpxClient())
    with pytest.raises(EngineError, match="cannot be reached"):
        GuardedClient("http://127.0.0.1:9/v1", guard=reading_guard)
    with GuardedClient(f"{server[1]}/v1", guard=reading_guard, max_retries=0) as client:
        other = client.with_options(base_url="http://elsewhere/v1")
        with pytest.raises((EngineError, openai.APIConnectionError)):
            other.models.list()


async def test_the_asynchronous_client(served_fake: Fake, reading_guard: Guard) -> None:
    transport = httpx.ASGITransport(app=served_fake)  # type: ignore[arg-type]
    async with AsyncGuardedClient(
        "http://upstream/v1", guard=reading_guard, upstream=transport
    ) as client:
        answer = await client.chat.completions.create(model=MODEL, messages=said(PERSON))
        assert answer.choices[0].message.content == REFUSAL
        assert "Odalys" not in served_fake.told
        served_fake.pieces = LEAK
        stream = await client.chat.completions.create(
            model=MODEL, messages=said(EVERYDAY), stream=True
        )
        told = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(told).endswith(ENDING)


async def test_many_at_once(server: tuple[Fake, str], served_fake: Fake, proxy: str) -> None:
    async with openai.AsyncOpenAI(base_url=f"{proxy}/v1", api_key="k") as client:

        async def ask(text: str) -> str:
            stream = await client.chat.completions.create(
                model=MODEL, messages=said(text), stream=True
            )
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

        texts = [EVERYDAY, PERSON, BOOK] * 8
        answers = await asyncio.gather(*(ask(text) for text in texts))
    wanted = {EVERYDAY: served_fake.text, PERSON: REFUSAL, BOOK: served_fake.text}
    assert answers == [wanted[text] for text in texts]
