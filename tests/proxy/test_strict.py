"""Nothing that the model will read, or that steers it, escapes judgement."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.guard import Guard
from guard.proxy.counting import Counter
from guard.proxy.fields import read_body
from guard.proxy.message import Refused
from guard.proxy.schemas import SCHEMAS
from guard.proxy.schemas.chat import Chat
from tests.proxy.ask import WAYS
from tests.proxy.bundles import REFUSAL
from tests.proxy.conftest import Start
from tests.proxy.test_matrix import EVERYDAY, PERSON
from tests.proxy.upstream import MODEL, Fake

NAME = "Odalys Brennick"
HELLO: list[dict[str, Any]] = [{"role": "user", "content": "Hello"}]
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": f'{{"q": "{NAME}"}}'}}
FUNCTION = {"name": "look_up", "description": f"Looks up {NAME}", "parameters": {}}
PLACES: dict[str, dict[str, Any]] = {
    "system": {"messages": [{"role": "system", "content": PERSON}, *HELLO]},
    "developer": {"messages": [{"role": "developer", "content": PERSON}, *HELLO]},
    "an earlier turn": {"messages": [{"role": "user", "content": PERSON}, *HELLO]},
    "a part": {"messages": [{"role": "user", "content": [{"type": "text", "text": PERSON}]}]},
    "two parts": {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Who is Odalys Bren"},
                    {"type": "text", "text": "nick?"},
                ],
            }
        ]
    },
    "two turns": {
        "messages": [
            {"role": "user", "content": "Who is Odalys"},
            {"role": "assistant", "content": "Yes?"},
            {"role": "user", "content": "Odalys Brennick"},
        ]
    },
    "a prefill": {
        "messages": [*HELLO, {"role": "assistant", "content": f"{NAME} was born in"}],
        "continue_final_message": True,
        "add_generation_prompt": False,
    },
    "a tool's result": {
        "messages": [*HELLO, {"role": "tool", "tool_call_id": "c", "content": PERSON}]
    },
    "a tool call": {"messages": [*HELLO, {"role": "assistant", "tool_calls": [CALL]}]},
    "reasoning": {"messages": [*HELLO, {"role": "assistant", "content": "", "reasoning": PERSON}]},
    "a name": {"messages": [{"role": "user", "name": NAME, "content": "Who am I?"}]},
    "a tool": {"messages": HELLO, "tools": [{"type": "function", "function": FUNCTION}]},
    "a document": {"messages": HELLO, "documents": [{"title": "x", "text": PERSON}]},
    "a choice": {"messages": HELLO, "structured_outputs": {"choice": [NAME, "nobody"]}},
    "a regex": {"messages": HELLO, "structured_outputs": {"regex": r"Odalys\s+Brennick"}},
    "an older regex": {"messages": HELLO, "guided_regex": r"(Odalys) (Brennick)"},
    "a grammar": {"messages": HELLO, "guided_grammar": 'root ::= "Odalys " "Brennick"'},
    "a schema": {
        "messages": HELLO,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "x", "schema": {"properties": {NAME: {"type": "string"}}}},
        },
    },
    "a stop text": {"messages": HELLO, "stop": [NAME]},
    "a template's argument": {"messages": HELLO, "chat_template_kwargs": {"persona": NAME}},
    "a prediction": {"messages": HELLO, "prediction": {"type": "content", "content": PERSON}},
    "a biased token": {"messages": HELLO, "logit_bias": {}},
}


@pytest.mark.parametrize("place", [one for one in PLACES if one != "a biased token"])
async def test_wherever_it_stands_it_is_judged(
    start: Start, unread_guard: Guard, fake: Fake, place: str
) -> None:
    async with await start(unread_guard) as client:
        body = {"model": MODEL, **PLACES[place]}
        response = await client.post("/v1/chat/completions", json=body)
    assert response.status_code == 200, response.text
    assert response.json()["choices"][0]["message"]["content"] == REFUSAL
    assert "Odalys" not in fake.told and "Brennick" not in fake.told


async def test_tokens_that_are_asked_for_are_judged(
    start: Start, unread_guard: Guard, fake: Fake, tokenizer: Any
) -> None:
    ids = tokenizer.encode(NAME, add_special_tokens=False)
    async with await start(unread_guard) as client:
        for path, body in (
            ("/v1/chat/completions", {"messages": HELLO, "allowed_token_ids": ids}),
            ("/v1/chat/completions", {"messages": HELLO, "logit_bias": dict.fromkeys(ids, 9)}),
            ("/v1/completions", {"prompt": ids}),
            ("/v1/completions", {"prompt": ["x", "y"], "suffix": PERSON}),
        ):
            response = await client.post(path, json={"model": MODEL, **body})
            assert REFUSAL in response.text
    assert "Odalys" not in fake.told and "Brennick" not in fake.told


async def test_without_the_tokenizer_tokens_are_refused(
    start: Start, unread_guard: Guard, fake: Fake, counter: Counter
) -> None:
    counter.tokenizer = None
    async with await start(unread_guard) as client:
        for path, body in (
            ("/v1/chat/completions", {"messages": HELLO, "allowed_token_ids": [1]}),
            ("/v1/chat/completions", {"messages": HELLO, "logit_bias": {"1": 5}}),
            ("/v1/completions", {"prompt": [1, 2, 3]}),
            ("/v1/completions", {"prompt": [[1, 2, 3]]}),
        ):
            response = await client.post(path, json={"model": MODEL, **body})
            assert response.status_code == 400
        banned = {"model": MODEL, "messages": HELLO, "logit_bias": {"1": -100}}
        assert (await client.post("/v1/chat/completions", json=banned)).status_code == 200


REFUSED_FIELDS: dict[str, dict[str, Any]] = {
    "chat": {
        "chat_template": "{{ x }}", "vllm_xargs": {"a": 1}, "prompt_logprobs": 0, "echo": True,
        "return_token_ids": True, "kv_transfer_params": {"a": 1}, "audio": {"voice": "x"},
        "chat_template_kwargs": {"chat_template": "x"}, "use_beam_search": True,
        "truncate_prompt_tokens": 5, "functions": [{}], "unknown_field": 1, "lora": "x",
        "temperature": "Who is Odalys Brennick?", "stream": 1, "n": 1000, "n ": 1,
        "mm_processor_kwargs": {"a": 1}, "logit_bias": {"x": 1}, "bad_words": ["x"] * 65,
        "web_search_options": {"a": 1}, "messages": [{"role": "Odalys", "content": "x"}],
    },
    "completions": {
        "prompt_embeds": "AAAA", "echo": True, "prompt_logprobs": 1, "best_of": 2,
        "prompt": [[1, "x"]], "vllm_xargs": {"a": 1}, "logprob_token_ids": [1],
    },
    "responses": {
        "previous_response_id": "resp_1", "conversation": "c", "prompt": {"id": "p"},
        "background": True, "tools": [{"type": "web_search"}], "truncation": "auto",
        "include": ["reasoning.encrypted_content"], "enable_response_messages": True,
        "input": [{"type": "item_reference", "id": "x"}],
        "previous_input_messages": [{"role": "user", "content": "x"}],
    },
    "messages": {
        "tools": [{"type": "web_search_20250305", "name": "web_search"}],
        "container": "x", "mcp_servers": [{"url": "x"}], "kv_transfer_params": {"a": 1},
        "system": [{"type": "image"}],
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("way", "field"), [(way, field) for way, some in REFUSED_FIELDS.items() for field in some]
)
async def test_what_cannot_be_judged_is_refused_and_named(
    start: Start, unread_guard: Guard, fake: Fake, way: str, field: str
) -> None:
    async with await start(unread_guard) as client:
        body = {**WAYS[way].body(EVERYDAY), field: REFUSED_FIELDS[way][field]}
        response = await client.post(WAYS[way].path, json=body)
    assert response.status_code == 400
    message = response.json()["error"]["message"]
    assert field.strip() in message and len(message) < 900
    assert fake.asked == []


IMAGES = [
    {"type": "image_url", "image_url": {"url": "data:x"}},
    {"type": "input_audio", "input_audio": {"data": "x"}},
    {"type": "prompt_embeds", "data": "x"},
    {"type": "image", "source": {}},
    {"type": "input_file", "file_id": "x"},
    {"type": "document", "source": {}},
    {"text": "Hello", "type": 5},
    7,
]


@pytest.mark.parametrize("part", IMAGES)
@pytest.mark.parametrize("way", ["chat", "responses", "messages"])
async def test_only_text_can_be_sent(
    start: Start, unread_guard: Guard, fake: Fake, way: str, part: Any
) -> None:
    body = WAYS[way].body("x")
    field = "input" if way == "responses" else "messages"
    body[field] = [{"role": "user", "content": [part]}]
    async with await start(unread_guard) as client:
        response = await client.post(WAYS[way].path, json=body)
    assert response.status_code == 400
    assert fake.asked == []


@pytest.mark.parametrize(
    "raw",
    [b"", b"[]", b"{", b'{"a": NaN}', b"\xff\xfe", b'{"messages": "\\ud800"}', b"[" * 9000,
     b'{"a":' * 9000, b'{"messages": [], "model": 5}', b"null"],
)  # fmt: skip
async def test_what_is_no_body_is_refused(
    start: Start, unread_guard: Guard, fake: Fake, raw: bytes
) -> None:
    async with await start(unread_guard) as client:
        headers = {"content-type": "application/json"}
        for way in WAYS.values():
            response = await client.post(way.path, content=raw, headers=headers)
            assert response.status_code == 400
            assert "error" in response.json()
    assert fake.asked == []


async def test_bodies_in_other_forms_are_refused(start: Start, unread_guard: Guard) -> None:
    async with await start(unread_guard) as client:
        path, raw = "/v1/chat/completions", json.dumps({"messages": HELLO}).encode()
        for headers in (
            {"content-type": "text/plain"},
            {"content-type": "application/json", "content-encoding": "gzip"},
        ):
            response = await client.post(path, content=raw, headers=headers)
            assert response.status_code == 415
        large = await client.post(path, content=b" " * (9 << 20))
        assert large.status_code == 413


async def test_a_field_given_twice_is_judged_as_it_is_sent(
    start: Start, unread_guard: Guard, fake: Fake
) -> None:
    twice = (
        f'{{"model": "{MODEL}", "messages": [{{"role": "user", "content": "{PERSON}"}}], '
        f'"messages": [{{"role": "user", "content": "Hello"}}]}}'
    )
    async with await start(unread_guard) as client:
        headers = {"content-type": "application/json"}
        response = await client.post("/v1/chat/completions", content=twice, headers=headers)
    assert response.status_code == 200
    assert fake.body["messages"] == HELLO


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1).filter(str.strip)
parts = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, texts),
    st.builds(lambda text, more: {"type": "text", "text": text, "extra": [more]}, texts, texts),
    st.builds(lambda text: {"type": "refusal", "refusal": text}, texts),
)
contents = st.one_of(texts, st.lists(parts, min_size=1, max_size=3))
nested = st.recursive(
    texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
messages = st.builds(
    lambda role, content, name, calls: {
        "role": role, "content": content, "name": name, "tool_calls": calls
    },
    st.sampled_from(["system", "developer", "user", "assistant", "tool"]),
    contents,
    texts,
    nested,
)  # fmt: skip


def inside(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for pair in value.items() for one in pair for text in inside(one)]
    return [text for one in value for text in inside(one)] if isinstance(value, list) else []


@given(st.lists(messages, min_size=1, max_size=4), nested, nested)
def test_every_text_of_a_chat_is_in_the_view(said: list[Any], tools: Any, schema: Any) -> None:
    body = {"messages": said, "tools": tools, "response_format": {"x": schema}}
    read = read_body(json.dumps(body).encode())
    asked = Chat().read(Chat.fields.checked(read), Counter())
    seen = [asked.view.text[part.start : part.end] for part in asked.view.parts]
    values = [m["content"] for m in said] + [m["tool_calls"] for m in said] + [tools, schema]
    known = {"text", "refusal", "type", "extra"}
    for text in inside(values):
        if text.strip() and text not in known:
            assert any(text in part for part in seen), text


def test_parts_and_turns_are_read_together_too() -> None:
    for place in ("two parts", "two turns"):
        asked = Chat().read(Chat.fields.checked(PLACES[place]), Counter())
        joined = [p for p in asked.view.parts if p.role == "joined"]
        assert any(NAME in asked.view.text[part.start : part.end] for part in joined)
        assert "Odalys Yes? Odalys" in asked.view.text or place == "two parts"


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda one: one.path)
def test_no_field_is_known_in_two_ways(schema: Any) -> None:
    fields = schema.fields
    kinds = [fields.read, fields.plain, fields.labels, fields.dropped, set(fields.refused)]
    names = [name for kind in kinds for name in kind]
    assert len(names) == len(set(names)), sorted(n for n in names if names.count(n) > 1)


def test_a_misspelt_field_is_named_with_the_nearest() -> None:
    with pytest.raises(Refused, match="did you mean 'temperature'"):
        Chat.fields.checked({"temperatur": 1})
