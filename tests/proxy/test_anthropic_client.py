"""The real `anthropic` client against the proxy."""

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from tests.proxy.bundles import ENDING, REFUSAL
from tests.proxy.test_matrix import EVERYDAY, LEAK, PERSON
from tests.proxy.upstream import MODEL, Fake


@pytest.fixture
def client(proxy: str) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=proxy, api_key="k", max_retries=0) as one:
        yield one


def said(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def test_messages(client: anthropic.Anthropic, served_fake: Fake) -> None:
    for text, wanted in ((EVERYDAY, served_fake.text), (PERSON, REFUSAL)):
        answer = client.messages.create(model=MODEL, max_tokens=50, messages=said(text))
        (block,) = answer.content
        assert block.type == "text" and block.text == wanted
        assert answer.stop_reason == "end_turn"
        with client.messages.stream(model=MODEL, max_tokens=50, messages=said(text)) as stream:
            assert stream.get_final_text() == wanted


def test_a_leak_ends_a_message(client: anthropic.Anthropic, served_fake: Fake) -> None:
    served_fake.pieces = LEAK
    with client.messages.stream(model=MODEL, max_tokens=50, messages=said(EVERYDAY)) as stream:
        final = stream.get_final_message()
    assert "Hal" not in final.model_dump_json()
    assert final.content[-1].type == "text" and final.content[-1].text.endswith(ENDING)


def test_tools_are_read(client: anthropic.Anthropic, served_fake: Fake) -> None:
    served_fake.calls = [("weather", '{"city": "Leeds"}')]
    answer = client.messages.create(model=MODEL, max_tokens=50, messages=said(EVERYDAY))
    assert answer.content[1].type == "tool_use" and answer.content[1].input == {"city": "Leeds"}
    served_fake.calls = [("weather", '{"city": {"of": "Ketil Rasmund"}}')]
    answer = client.messages.create(model=MODEL, max_tokens=50, messages=said(EVERYDAY))
    assert "Ketil" not in answer.model_dump_json()


def test_errors_are_the_clients_own(client: anthropic.Anthropic, served_fake: Fake) -> None:
    with pytest.raises(anthropic.NotFoundError):
        client.messages.create(model="other", max_tokens=5, messages=said(EVERYDAY))
    with pytest.raises(anthropic.BadRequestError, match="text"):
        image = {"type": "image", "source": {"type": "url", "url": "http://x"}}
        asked: Any = [{"role": "user", "content": [image]}]
        client.messages.create(model=MODEL, max_tokens=5, messages=asked)
