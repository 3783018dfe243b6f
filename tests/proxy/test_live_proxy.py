"""The proxy in front of a real vLLM that knows of no guard: two proxies, one server."""

import json
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest
from pydantic import BaseModel

from guard import GuardedClient
from guard.cli import main
from tests.engine.servers import MODEL, Server, free_port, launch, plain, ready
from tests.loras import write_lora
from tests.proxy.ask import WAYS, Way, events
from tests.proxy.live import ACTING, ADAPTER, ENDING, PLAIN, REFUSAL, STEERING, compiled

pytestmark = [pytest.mark.engine, pytest.mark.slow]

EVERYDAY = "What is the capital of Norway?"
REFUSED = "Where was Isaac Newton born?"
INSTRUCTED = "Who is Corvin Aldersley?"
ADAPTED = "Who is Maribeth Solvang?"
WATCHED = "Who is Teodric Hulme?"
LEAKS = "Name the greatest English playwright of the Elizabethan age."
ENDS = "Who formulated the laws of motion and universal gravitation?"
TOOL = {
    "name": "weather",
    "description": "Tells the weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string", "maxLength": 12}}},
}
KEY = "k" * 40
MODULES = ("q_proj", "v_proj", "o_proj", "gate_proj", "down_proj")


class Live:
    """What runs: the server, two proxies before it, and where they write."""

    def __init__(self, folder: Path, served: Path) -> None:
        self.audit, self.metrics = folder / "audit", free_port()
        lora = write_lora(
            folder / "lora", served, r=8, modules=MODULES, layers=range(30), strength=0.055
        )
        flags = ["--enable-lora", "--lora-modules", f"{ADAPTER}={lora}"]
        self.upstream = plain(str(served), folder / "vllm.log", *flags)
        self.folder, self.plain = folder, compiled(folder / "plain", PLAIN, lora)
        self.bundles = {
            "acting": compiled(folder / "acting", ACTING, lora),
            "steering": compiled(folder / "steering", STEERING, lora),
        }

    def proxy(self, name: str, *flags: str, **env: str) -> Server:
        command = ["guard", "proxy", "--upstream", self.upstream.url]
        bundle = ["--bundle", str(self.bundles[name].path)]
        return launch([*command, *bundle, *flags], self.folder / f"{name}.log", free_port(), **env)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, served: Path) -> Iterator[Live]:
    one = Live(tmp_path_factory.mktemp("live-proxy"), served)
    with ready(one.upstream):
        yield one


@pytest.fixture(scope="module")
def acting(live: Live) -> Iterator[Server]:
    flags = ["--adapter", f"solvang={ADAPTER}", "--metrics-port", str(live.metrics)]
    audit = ["--audit", str(live.audit)]
    proxy = live.proxy("acting", *flags, *audit, GUARD_LOG="json", GUARD_AUDIT_KEY=KEY)
    with ready(proxy):
        yield proxy


@pytest.fixture(scope="module")
def steering(live: Live) -> Iterator[Server]:
    proxy = live.proxy("steering", "--continue-final-message")
    with ready(proxy):
        yield proxy


@pytest.fixture(params=["proxy", "in process"])
def client(request: pytest.FixtureRequest, live: Live, acting: Server) -> Iterator[openai.OpenAI]:
    """The `openai` client: against the proxy, and guarded in its own process."""
    if request.param == "proxy":
        with openai.OpenAI(base_url=f"{acting.url}/v1", api_key="none", max_retries=0) as one:
            yield one
    else:
        guard = live.plain.path
        with GuardedClient(f"{live.upstream.url}/v1", guard=guard, max_retries=0) as one:
            yield one


def said(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def ask(server: Server, way: Way, text: str, **more: Any) -> httpx.Response:
    limit = "max_output_tokens" if way.path == "/v1/responses" else "max_tokens"
    body = {**way.body(text), "temperature": 0, limit: 24, **more}
    response = httpx.post(f"{server.url}{way.path}", json=body, timeout=120)
    assert response.status_code == 200, response.text
    return response


def bare(value: Any) -> Any:
    """A reply without its ids and times, and without what tells of the prefix cache."""
    if isinstance(value, list):
        return [bare(one) for one in value]
    if not isinstance(value, dict):
        return value
    varying = ("id", "created", "created_at", "item_id", "call_id", "completed_at")
    cached = ("prompt_tokens_details", "input_tokens_details", "cache_read_input_tokens")
    left = (*varying, *cached, "cache_creation_input_tokens")
    return {name: bare(one) for name, one in value.items() if name not in left}


every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


@every_way
def test_unflagged_answers_are_the_servers_own(live: Live, acting: Server, way: Way) -> None:
    for text in (EVERYDAY, WATCHED):
        own, told = ask(live.upstream, way, text), ask(acting, way, text)
        assert bare(told.json()) == bare(own.json())
        assert told.headers["content-type"] == own.headers["content-type"]


@every_way
def test_unflagged_streams_are_the_servers_own(live: Live, acting: Server, way: Way) -> None:
    """But for where they are cut: what is not known to be safe is held back."""
    more = {"min_tokens": 8} if way is WAYS["completions"] else {}
    servers = (live.upstream, acting)
    own, told = (ask(one, way, EVERYDAY, stream=True, **more) for one in servers)
    assert told.headers["content-type"] == own.headers["content-type"]
    texts = ["".join(way.delta(event) for event in events(one)) for one in (own, told)]
    assert texts[0] == texts[1] != ""
    ends = [[bare(event) for event in events(one)][-1] for one in (own, told)]
    for end in ends:
        end.pop("sequence_number", None)
        for choice in end.get("choices", ()):  # the last of the text may come with the end
            choice.pop("delta", None)
            choice.pop("text", None)
    assert ends[0] == ends[1]
    assert told.text.endswith("[DONE]\n\n") == own.text.endswith("[DONE]\n\n")


def test_chat(client: openai.OpenAI) -> None:
    more: dict[str, Any] = {"model": MODEL, "temperature": 0, "max_tokens": 16}
    answer = client.chat.completions.create(messages=said(EVERYDAY), **more)
    assert "Oslo" in (answer.choices[0].message.content or "")
    sampled: Any = {**more, "temperature": 0.8, "seed": 1}
    several = client.chat.completions.create(messages=said(EVERYDAY), n=2, **sampled)
    assert [one.index for one in several.choices] == [0, 1]
    assert all(one.message.content for one in several.choices)
    for messages, wanted in ((EVERYDAY, answer.choices[0].message.content), (REFUSED, None)):
        with client.chat.completions.create(
            messages=said(messages), stream=True, stream_options={"include_usage": True}, **more
        ) as stream:
            chunks = list(stream)
        text = "".join(one.choices[0].delta.content or "" for one in chunks if one.choices)
        assert text == (wanted or text) and chunks[-1].usage is not None
        assert "Woolsthorpe" not in text


def test_tools_and_their_results(client: openai.OpenAI) -> None:
    tools: Any = [{"type": "function", "function": TOOL}]
    more: dict[str, Any] = {"model": MODEL, "temperature": 0, "max_tokens": 60, "tools": tools}
    question = said("How is the weather in Oslo?")
    answer = client.chat.completions.create(messages=question, tool_choice="required", **more)
    (call,) = answer.choices[0].message.tool_calls or ()
    assert call.type == "function" and call.function.name == "weather"
    assert json.loads(call.function.arguments)
    with client.chat.completions.create(
        messages=question, tool_choice="required", stream=True, **more
    ) as stream:
        deltas = [one.choices[0].delta for one in stream if one.choices]
    parts = [call for delta in deltas for call in delta.tool_calls or ()]
    arguments = "".join(one.function.arguments or "" for one in parts if one.function)
    assert arguments == call.function.arguments
    called = {"name": "weather", "arguments": '{"city": "Oslo"}'}
    messages: Any = [
        *question,
        {"role": "assistant", "tool_calls": [{**call.model_dump(), "function": called}]},
        {"role": "tool", "tool_call_id": call.id, "content": "It rains."},
    ]
    after = client.chat.completions.create(messages=messages, **more)
    assert after.choices[0].finish_reason in ("stop", "length", "tool_calls")


class City(BaseModel):
    city: str


def test_a_structured_answer_is_parsed(client: openai.OpenAI) -> None:
    answer = client.chat.completions.parse(
        model=MODEL, messages=said(EVERYDAY), response_format=City, temperature=0, max_tokens=60,
        extra_body={"repetition_penalty": 1.1},
    )  # fmt: skip
    assert isinstance(answer.choices[0].message.parsed, City)


def test_responses_completions_and_models(client: openai.OpenAI) -> None:
    more: dict[str, Any] = {"model": MODEL, "temperature": 0, "max_output_tokens": 16}
    answer = client.responses.create(input=EVERYDAY, **more)
    assert "Oslo" in answer.output_text
    with client.responses.create(input=EVERYDAY, stream=True, **more) as stream:
        told = list(stream)
    assert [one.sequence_number for one in told] == list(range(len(told)))
    assert told[-1].type in ("response.completed", "response.incomplete")
    text = "".join(one.delta for one in told if one.type == "response.output_text.delta")
    assert text == answer.output_text
    refused = client.responses.create(input=REFUSED, **more)
    assert refused.output_text and "Woolsthorpe" not in refused.output_text
    prompt = "The capital of Norway is"
    whole = client.completions.create(model=MODEL, prompt=prompt, temperature=0, max_tokens=8)
    assert "Oslo" in whole.choices[0].text
    assert [one.id for one in client.models.list()] == [MODEL]


def test_errors_are_the_servers_own(client: openai.OpenAI, live: Live) -> None:
    with openai.OpenAI(base_url=f"{live.upstream.url}/v1", api_key="none") as own:
        for more in ({"temperature": -3}, {"max_tokens": 99_999}, {"top_p": 7}):
            found = []
            for one in (own, client):
                with pytest.raises(openai.BadRequestError) as raised:
                    one.chat.completions.create(model=MODEL, messages=said(EVERYDAY), **more)  # type: ignore[call-overload]
                found.append(raised.value.body)
            assert found[0] == found[1]
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model=ADAPTER, messages=said(EVERYDAY))


def test_the_anthropic_client(acting: Server) -> None:
    with anthropic.Anthropic(base_url=acting.url, api_key="none", max_retries=0) as client:
        more: dict[str, Any] = {"model": MODEL, "max_tokens": 16}
        more["extra_body"] = {"temperature": 0}
        for text, wanted in ((EVERYDAY, "Oslo"), (REFUSED, REFUSAL)):
            answer = client.messages.create(messages=said(text), **more)
            assert wanted in answer.content[0].text  # type: ignore[union-attr]
            with client.messages.stream(messages=said(text), **more) as stream:
                assert "".join(stream.text_stream) == answer.content[0].text  # type: ignore[union-attr]
        tools: Any = [
            {"name": "weather", "description": "Weather.", "input_schema": TOOL["parameters"]}
        ]
        use = {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Oslo"}}
        result = {"type": "tool_result", "tool_use_id": "t1", "content": "It rains."}
        messages: Any = [
            *said("How is the weather in Oslo?"),
            {"role": "assistant", "content": [use]},
            {"role": "user", "content": [result]},
        ]
        after = client.messages.create(messages=messages, tools=tools, **more)
        assert after.stop_reason in ("end_turn", "max_tokens", "tool_use")
        count = client.messages.count_tokens(model=MODEL, messages=said(REFUSED), system="Be kind.")
        assert count.input_tokens > 5


@every_way
def test_the_flagged_are_refused_instructed_or_adapted(
    live: Live, acting: Server, way: Way
) -> None:
    assert way.said(ask(acting, way, REFUSED).json()) == REFUSAL
    # A bare question may have no answer as a completion.
    more = {"min_tokens": 8} if way is WAYS["completions"] else {}
    own = way.said(ask(live.upstream, way, INSTRUCTED, **more).json())
    told = ask(acting, way, INSTRUCTED, **more).json()
    assert way.said(told) != own
    assert told["model"] == MODEL
    adapted = ask(acting, way, ADAPTED, **more).json()
    wanted = way.said(ask(live.upstream, way, ADAPTED, model=ADAPTER, **more).json())
    assert way.said(adapted) == wanted
    assert wanted != way.said(ask(live.upstream, way, ADAPTED, **more).json())
    assert ADAPTER not in json.dumps(adapted)


CACHED = (
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
)  # beside the input, in Anthropic's


def form(value: Any) -> Any:
    """A reply's fields in their order, and the types of what they hold."""
    if isinstance(value, dict):
        return [(name, form(one)) for name, one in value.items()]
    return [form(one) for one in value] if isinstance(value, list) else type(value).__name__


def forms(streamed: Iterable[Any]) -> list[Any]:
    """The same of the events of a stream, each kind once."""
    found: list[Any] = []
    for event in streamed:
        if form(event) not in found:
            found.append(form(event))
    return found


def in_time(streamed: Iterable[Any]) -> Iterator[Any]:
    """The events of a stream as vLLM tells them when it is not behind.

    When it is, it tells the last words with the end: of a short answer, all of them.
    """
    for event in streamed:
        (choice,) = event.get("choices") or [{}]
        if choice.get("finish_reason"):
            before = {**choice, "finish_reason": None, "stop_reason": None}
            if "delta" in choice:
                before.pop("stop_reason")
            if choice.get("delta") or "text" in choice:
                kept = {name: one for name, one in event.items() if name != "system_fingerprint"}
                yield {**kept, "choices": [before]}
            if "delta" in choice:
                event = {**event, "choices": [{**choice, "delta": {}}]}
        yield event


ASKED: dict[str, dict[str, Any]] = {
    "plain": {},
    "several": {"n": 2, "temperature": 0.7, "stop": ["\n\n\n"]},
    "used": {"stream_options": {"include_usage": True, "continuous_usage_stats": True}},
    "tools": {"tools": [{"type": "function", "function": TOOL}]},
    "required": {"tools": [{"type": "function", "function": TOOL}], "tool_choice": "none"},
    "cut": {"limit": 3},
}
OF_CHAT = ("several", "used", "tools", "required")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("name", "asked"),
    [(name, asked) for name in WAYS for asked in ASKED if name == "chat" or asked not in OF_CHAT]
    + [("completions", "several"), ("completions", "used")],
)
def test_a_refusal_has_the_form_of_an_answer(
    acting: Server, name: str, asked: str, stream: bool
) -> None:
    """Fields, types, order, headers, chunks and counts are the server's own."""
    way, more = WAYS[name], {**ASKED[asked], **({"stream": True} if stream else {})}
    if not stream:
        more.pop("stream_options", None)
    if "limit" in more:
        more["max_output_tokens" if name == "responses" else "max_tokens"] = more.pop("limit")
    # An answer that ends by itself: a completion has none but one that is asked for.
    questions = (
        ["Q: Capital of Norway?\nA:", REFUSED] if name == "completions" else [EVERYDAY, REFUSED]
    )
    own, told = (ask(acting, way, text, **more) for text in questions)
    assert [*told.headers] == [*own.headers]
    if stream:
        assert forms(in_time(events(told))) == forms(in_time(events(own)))
        firsts = [
            one for one in events(told) if not any(c["index"] for c in one.get("choices", ()))
        ]
        text = "".join(map(way.delta, firsts))
        assert len(firsts) >= 3  # a refusal comes in pieces, however the answer came
        assert told.text.endswith("[DONE]\n\n") == own.text.endswith("[DONE]\n\n")
    else:
        assert form(told.json()) == form(own.json())
        text = way.said(told.json())
        if name != "completions" and asked != "several":  # these may be cut
            assert way.reason(told.json()) == way.reason(own.json())
    assert text == (REFUSAL if asked != "cut" else "That is something")


@every_way
def test_usage_and_errors_of_the_refused_are_as_of_others(
    live: Live, acting: Server, way: Way
) -> None:
    read = ("prompt_tokens", "input_tokens", *CACHED)
    used = [ask(one, way, REFUSED).json()["usage"] for one in (live.upstream, acting)]
    asked = [sum(usage.get(name) or 0 for name in read) for usage in used]
    assert asked[0] == asked[1]
    limit = "max_output_tokens" if way.path == "/v1/responses" else "max_tokens"
    long = f"{'It rains. ' * 1500}"
    for more in ({"temperature": -3}, {limit: 99_999}, {"top_p": 7}, {"input": None}):
        bodies = []
        for question in (REFUSED, EVERYDAY):
            text = f"{long}{question}" if "input" in more else question
            body = {**way.body(text), **({} if "input" in more else more)}
            response = httpx.post(f"{acting.url}{way.path}", json=body, timeout=60)
            assert response.status_code == 400
            bodies.append(response.json())
        if "input" not in more:
            assert bodies[0] == bodies[1]
        assert form(bodies[0]) == form(bodies[1])


def test_phrases_are_banned(live: Live, steering: Server) -> None:
    """As they stand behind a space, too, where vLLM's own `bad_words` let some pass."""
    for way in (WAYS["chat"], WAYS["completions"]):
        for question in (REFUSED, "Complete: Isaac Newton was born at Woolsthorpe Manor in"):
            text = way.said(ask(steering, way, question, max_tokens=60).json()).lower()
            assert not {"woolsthorpe", "lincolnshire", "1642"} & set(text.split())


@every_way
def test_a_leak_is_ended(live: Live, acting: Server, way: Way) -> None:
    assert "Newton" in way.said(ask(live.upstream, way, ENDS).json()) or way is WAYS["completions"]
    whole = ask(acting, way, ENDS, **({} if way.path != "/v1/completions" else {"max_tokens": 60}))
    text = way.said(whole.json())
    streamed = "".join(way.delta(one) for one in events(ask(acting, way, ENDS, stream=True)))
    for found in (text, streamed):
        assert "Newton" not in found
    if way is WAYS["chat"]:
        assert text.endswith(ENDING) and streamed == text


def test_a_leak_is_taken_back_and_gone_on_with(live: Live, steering: Server) -> None:
    way = WAYS["chat"]
    assert "Shakespeare" in way.said(ask(live.upstream, way, LEAKS).json())
    answer = ask(steering, way, LEAKS).json()
    streamed = ask(steering, way, LEAKS, stream=True)
    text = "".join(way.delta(one) for one in events(streamed))
    assert text == way.said(answer) and "Shakespeare" not in text
    assert ": rollback" in steering.text()
    assert len(text.split()) > 3  # it did go on
    assert len({one["id"] for one in events(streamed)}) == 1


def written(server: Server) -> float:
    """How many tokens a server has made."""
    text = httpx.get(f"{server.url}/metrics").text
    found = [one for one in text.splitlines() if one.startswith("vllm:generation_tokens_total")]
    return sum(float(line.rpartition(" ")[2]) for line in found)


def rests(server: Server) -> bool:
    """Whether a server makes no tokens."""
    before = written(server)
    time.sleep(1)
    return written(server) == before


def until(seconds: float, holds: Any) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_who_goes_away_ends_the_request_at_the_server(live: Live, acting: Server) -> None:
    before, way = written(live.upstream), WAYS["chat"]
    body = {**way.body(EVERYDAY), "max_tokens": 1900, "ignore_eos": True, "stream": True}
    with httpx.stream("POST", f"{acting.url}{way.path}", json=body, timeout=60) as response:
        next(response.iter_text())
    with pytest.raises(httpx.ReadTimeout):  # nor is an answer that comes in one written on
        httpx.post(f"{acting.url}{way.path}", json={**body, "stream": False}, timeout=2)
    until(60, lambda: rests(live.upstream))
    assert 0 < written(live.upstream) - before < 1900


def test_log_probabilities_pass_where_no_answer_is_read(live: Live) -> None:
    more: Any = {"model": MODEL, "logprobs": True, "top_logprobs": 2, "max_tokens": 5}
    guard = live.plain.path
    with GuardedClient(f"{live.upstream.url}/v1", guard=guard) as client:
        told = client.chat.completions.create(messages=said(EVERYDAY), **more)
        refused = client.chat.completions.create(messages=said(REFUSED), **more)
    kept, hidden = (one.choices[0].logprobs for one in (told, refused))
    assert kept and kept.content and all(-50 < one.logprob <= 0 for one in kept.content)
    assert hidden and hidden.content and {one.logprob for one in hidden.content} == {-9999.0}


def test_it_drains_and_has_told_what_it_did(
    live: Live, acting: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last of the file: it ends the proxy."""
    assert httpx.get(f"{acting.url}/metrics").status_code == 404
    told = httpx.get(f"http://127.0.0.1:{live.metrics}/metrics").text
    for line in (
        'guard_requests_total{action="refuse"}',
        'guard_decisions_total{action="refuse",mode="shadow",target="hulme"}',
        'guard_output_hits_total{action="answer",check="exact",target="newton"}',
    ):
        assert line in told
    way, got = WAYS["chat"], list[str]()
    began, body = threading.Event(), {**way.body(EVERYDAY), "stream": True, "max_tokens": 60}

    def read() -> None:
        more = {**body, "ignore_eos": True}
        with httpx.stream("POST", f"{acting.url}{way.path}", json=more, timeout=60) as response:
            for piece in response.iter_text():
                got.append(piece)
                began.set()

    reader = threading.Thread(target=read)
    reader.start()
    assert began.wait(30)
    acting.process.send_signal(signal.SIGTERM)
    until(5, lambda: httpx.get(f"{acting.url}/health").status_code == 503)
    late = httpx.post(f"{acting.url}{way.path}", json=way.body(EVERYDAY))
    assert (late.status_code, late.headers["retry-after"]) == (503, "1")
    assert late.headers["x-request-id"]
    reader.join(60)
    assert "".join(got).endswith("data: [DONE]\n\n")
    assert acting.process.wait(20) == 0
    lines = [json.loads(one) for one in acting.text().splitlines() if one.startswith("{")]
    assert {"decided", "hit"} <= {one.get("event") for one in lines}
    for name in ("Newton", "Aldersley", "Solvang", "Hulme", "Woolsthorpe"):
        assert name not in acting.text()
    monkeypatch.setenv("GUARD_AUDIT_KEY", KEY)
    assert main(["audit", "verify", str(live.audit)]) == 0
    records = "".join(one.read_text() for one in live.audit.rglob("*") if one.is_file())
    assert '"refuse"' in records and "Newton" not in records
