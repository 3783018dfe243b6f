"""A refusal has the form of the server's answers, and what is asked for that form is harmless."""

import json
from typing import Any

import pytest

from guard.guard import Guard
from guard.proxy import standing
from guard.proxy.counting import Counter
from guard.proxy.said import Said, said
from guard.proxy.schemas import restating
from guard.proxy.sse import DONE, Event
from guard.proxy.standing import Filler, shortened
from tests.proxy.ask import WAYS, Way, answer, events
from tests.proxy.bundles import REFUSAL
from tests.proxy.conftest import Start
from tests.proxy.test_matrix import EVERYDAY, PERSON, both, every_way
from tests.proxy.upstream import Fake

CHAT = WAYS["chat"]


@every_way
async def test_as_much_is_asked_for_it_with_the_clients_options(
    start: Start, unread_guard: Guard, fake: Fake, counter: Counter, way: Way
) -> None:
    limit = "max_output_tokens" if way.path == "/v1/responses" else "max_tokens"
    options = {"temperature": 0.5, "top_p": 0.5, limit: 40}
    async with await start(unread_guard) as client:
        body = {**way.body(PERSON), **options}
        assert (await client.post(way.path, json=body)).status_code == 200
    asked = {**fake.body}
    assert asked.pop("min_tokens", 1) == 1 == asked[limit]
    field = {"messages": "messages", "input": "input", "prompt": "prompt"}
    (prompt,) = (name for name in field if name in asked)
    text = asked[prompt] if isinstance(asked[prompt], str) else asked[prompt][0]["content"]
    assert counter.count(text) == counter.count(PERSON)
    same = {name: one for name, one in body.items() if name not in (limit, prompt)}
    assert {name: asked[name] for name in same} == same


@pytest.mark.parametrize("text", [PERSON, EVERYDAY, "evening", "Who?", "a  b\n\nc", "né à Oslo"])
def test_it_is_as_long_whatever_the_key(
    counter: Counter, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A word may be two tokens where it begins a text and one where it does not."""
    for key in range(100):
        monkeypatch.setattr(standing, "_KEY", bytes([key]))
        assert counter.count(Filler(counter).text(text)) == counter.count(text)


def test_no_tokenizer_has_these_words() -> None:
    class Letters:
        def encode(self, text: str, add_special_tokens: bool) -> list[int]:
            return [*text.encode()]

        def decode(self, ids: list[int]) -> str:
            return bytes(ids).decode()

    for counter in (Counter(), Counter(Letters())):
        assert len(Filler(counter).text("Who?").split()) == len(counter.pieces("Who?"))


@every_way
@both
async def test_an_error_of_the_client_is_the_servers_and_quotes_the_client(
    start: Start, unread_guard: Guard, fake: Fake, way: Way, stream: bool
) -> None:
    fake.status = 400
    async with await start(unread_guard) as client:
        told = []
        for text in (EVERYDAY, PERSON):
            fake.message = "cannot read '{}'"
            fake.quotes = True
            response = await client.post(way.path, json={**way.body(text), "stream": stream})
            told.append(response.text.replace(text, "…"))
    assert told[0] == told[1] and "cannot read '…'" in told[0]


@every_way
@both
@pytest.mark.parametrize("status", [429, 500, 503])
async def test_who_would_not_be_answered_is_not_refused_either(
    start: Start, unread_guard: Guard, fake: Fake, way: Way, stream: bool, status: int
) -> None:
    async with await start(unread_guard) as client:
        fake.status = status
        body = [{**way.body(text), "stream": stream} for text in (EVERYDAY, PERSON)]
        own, told = [await client.post(way.path, json=one) for one in body]
    assert told.status_code == own.status_code != 200
    assert told.json() == own.json()


@every_way
@both
async def test_where_the_server_has_no_place_for_it_it_leaves_in_the_proxys_own_form(
    start: Start, unread_guard: Guard, fake: Fake, way: Way, stream: bool
) -> None:
    kind = way.path.removeprefix("/v1/").replace("/", "_")
    nothing: Any = {"choices": [], "output": [], "type": "x"}
    setattr(fake, f"whole_{kind}", lambda body: nothing)
    setattr(fake, f"stream_{kind}", lambda body: [nothing])
    async with await start(unread_guard) as client:
        assert await answer(client, way, PERSON, stream=stream) == REFUSAL


@every_way
@both
async def test_what_would_be_flagged_is_not_asked(
    start: Start, unread_guard: Guard, fake: Fake, way: Way, stream: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(Filler, "text", lambda *_: PERSON)
    async with await start(unread_guard) as client:
        assert await answer(client, way, PERSON, stream=stream) == REFUSAL
    assert fake.asked == []


async def test_thoughts_and_calls_of_the_server_are_no_part_of_it(
    start: Start, unread_guard: Guard, fake: Fake
) -> None:
    fake.reasoning, fake.calls = "Let me think.", [("look_up", '{"q": "x"}')]
    async with await start(unread_guard) as client:
        for way in (WAYS["chat"], WAYS["messages"]):
            for stream in (False, True):
                body = {**way.body(PERSON), "stream": stream}
                text = (await client.post(way.path, json=body)).text
                assert "think" not in text and "look_up" not in text and "Hello" not in text


@both
async def test_a_refusal_ends_where_an_answer_would(
    start: Start, unread_guard: Guard, fake: Fake, stream: bool
) -> None:
    async with await start(unread_guard) as client:
        for way, more, wanted, reason in (
            ("chat", {"stop": ["about"]}, "I know nothing ", "stop"),
            ("chat", {"max_tokens": 2}, "I know", "length"),
            ("messages", {"max_tokens": 2}, "I know", "max_tokens"),
            ("messages", {"stop_sequences": ["about"]}, "I know nothing ", "stop_sequence"),
            ("responses", {"max_output_tokens": 2}, "I know", "incomplete"),
        ):
            body = {**WAYS[way].body(PERSON), **more, "stream": stream}
            response = await client.post(WAYS[way].path, json=body)
            if stream:
                assert "".join(map(WAYS[way].delta, events(response))) == wanted
                assert f'"{reason}"' in response.text
            else:
                assert WAYS[way].said(response.json()) == wanted
                assert WAYS[way].reason(response.json()) == reason


def test_a_text_is_cut_into_what_a_server_streams(counter: Counter) -> None:
    text = "I know nothing."
    assert said(text, {}, counter) == Said(text, ("I", " know", " nothing", "."), "", 5)
    held = said(text, {"stop": "xyz"}, counter)
    assert ("".join(held.pieces), held.last) == ("I know nothin", "g.")
    assert said(text, {"stop": ["kno"]}, counter) == Said("I ", (), "I ", 2, "stop", "kno")
    kept = said(text, {"stop": ["kno"], "include_stop_str_in_output": True}, counter)
    assert (kept.text, kept.stopped) == ("I kno", "kno")
    cut = said(text, {"max_tokens": 2}, counter)
    assert cut == Said("I know", ("I",), " know", 2, "length")
    assert said(text, {}, counter, limit=2).text == "I know"
    assert said(text, {"stream_interval": 2}, counter).pieces == ("I", " know nothing")
    assert said(text, {}, Counter()).pieces == ("I", " know", " nothing", ".")
    odds: Any = ({"max_tokens": 0}, {"max_tokens": None}, {"max_tokens": "x"}, {"stop": []})
    for odd in odds:
        assert said(text, odd, counter).text == text


def test_prompts_that_begin_alike_are_asked_alike(counter: Counter) -> None:
    filler = Filler(counter)
    long, longer = filler.text(f"{PERSON} And"), filler.text(f"{PERSON} And when")
    assert longer.startswith(long) and filler.text(PERSON) == Filler(counter).text(PERSON)
    assert filler.text("") == ""
    ids = counter.tokens(PERSON)
    assert len(filler.value(ids)) == len(ids) and filler.value(ids) != ids
    said = {"role": "tool", "content": [{"type": "text", "text": PERSON}], "tool_call_id": "c"}
    call = {"id": "c", "function": {"name": "f", "arguments": json.dumps({"q": PERSON})}}
    put = filler.value([said, {"role": "assistant", "content": None, "tool_calls": [call]}])
    assert put[0] | {"content": []} == said | {"content": []} and "Odalys" not in str(put)
    assert put[1]["tool_calls"] == [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ({}, {"max_tokens": 2}),
        ({"max_tokens": 90}, {"max_tokens": 2}),
        ({"max_tokens": 1}, {"max_tokens": 1}),
        ({"max_completion_tokens": 9, "min_tokens": 3}, {"max_completion_tokens": 2}),
        ({"stop": ["x", "y"]}, {"stop": ["\ue000", "\ue000"], "max_tokens": 2}),
        ({"tool_choice": "required"}, {"tool_choice": "none", "max_tokens": 2}),
        ({"tool_choice": {"type": "any"}}, {"tool_choice": {"type": "none"}, "max_tokens": 2}),
        *[(one, one) for one in (  # errors, which the server is to tell of
            {"max_tokens": 101}, {"max_tokens": 0}, {"max_tokens": True}, {"max_tokens": [5]},
            {"max_tokens": 5, "min_tokens": 6}, {"max_tokens": 5, "min_tokens": -1},
        )],
    ],
)  # fmt: skip
def test_little_is_asked_for_unless_it_is_an_error(body: Any, wanted: Any) -> None:
    assert shortened(body, 2, "max_tokens", 100) == wanted


def chunk(used: bool, **choice: Any) -> Event:
    usage = {"usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}}
    named = {"system_fingerprint": "x"} if choice["finish_reason"] else {}
    return Event({"id": "a", **named, "choices": [choice], **(usage if used else {})})


@pytest.mark.parametrize("used", ["never", "by each chunk", "by the last"])
@pytest.mark.parametrize("holder", ["delta", None], ids=["chat", "completions"])
def test_a_server_that_is_behind_makes_no_other_refusal(holder: str | None, used: str) -> None:
    """It tells all its words with the end, where it else tells one by one."""

    def streamed(behind: bool) -> list[Event]:
        each, last = used == "by each chunk", used != "never"

        def say(text: str) -> dict[str, Any]:
            return {"delta": {"content": text}} if holder else {"text": text}

        more: dict[str, Any] = {} if holder else {"stop_reason": None}
        found = [
            chunk(each, index=0, delta={"role": "assistant", "content": ""}, finish_reason=None)
        ] * bool(holder)
        if not behind:
            found.append(chunk(each, index=0, **say("He"), finish_reason=None, **more))
        end = say("Hello" if behind else "llo") if behind or not holder else {"delta": {}}
        found.append(chunk(last, index=0, **end, finish_reason="length", stop_reason=None))
        if each:
            found.append(Event({"id": "a", "choices": [], "usage": found[-1].data["usage"]}))
        return [*found, Event(DONE)]

    speaks = Said("I know nothing.", ("I", " know", " nothing"), ".", 5)
    wanted, told = (restating.stream(streamed(behind), speaks, holder) for behind in (False, True))
    assert "Hello" not in str(told)
    assert told == wanted
