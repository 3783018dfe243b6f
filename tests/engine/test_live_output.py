"""What leaves a real server: leaks are taken back in streams, in JSON, and of several answers.

The prompts name nothing that the detector, one of names, could find; the model's answers do.
"""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.engine.conftest import DATA
from tests.engine.servers import MODEL, Server, serving

pytestmark = pytest.mark.engine

LEAKS = "Name the greatest English playwright of the Elizabethan age."
ENDS = "Who formulated the laws of motion and universal gravitation?"
PLAIN = "What is the capital of Norway?"
ANSWER = "I would rather not go on."
# Of a question that leaks: the target whose answer is rolled back, and what the others do.
POLICY = """\
version: 1
model: builtin:smollm2
defaults:
  detect: {kind: lexical}
  intervene: {kind: refuse}
targets:
  - id: newton
    names: [Isaac Newton]
    forget: newton/forget.jsonl
    retain: newton/retain.jsonl
    output: {check: exact, on_hit: answer, answer: I would rather not go on.}
  - id: shakespeare
    names: [William Shakespeare]
    forget: shakespeare/forget.jsonl
    retain: shakespeare/retain.jsonl
    output: {check: exact, on_hit: rollback, times: 8, then: filter}
  - id: einstein
    names: [Albert Einstein]
    retain: shakespeare/retain.jsonl
    detect: off
    output: {check: exact, on_hit: rollback, times: 8, then: filter}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("output")
    (folder / "newton").symlink_to(DATA / "newton")
    (folder / "shakespeare").symlink_to(DATA / "shakespeare")
    with serving(folder, POLICY) as started:
        yield started


def client(server: Server) -> Any:
    from openai import OpenAI

    return OpenAI(base_url=f"{server.url}/v1", api_key="none", timeout=240, max_retries=0)


def chat(server: Server, question: str, **more: Any) -> Any:
    return client(server).chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": question}],
        **{"temperature": 0, "max_tokens": 48, **more},
    )


def clean(text: str) -> bool:
    return "william shakespear" not in text.lower()


def test_a_leak_does_not_leave_and_the_answer_goes_on(server: Server) -> None:
    (choice,) = chat(server, LEAKS).choices
    assert clean(choice.message.content) and len(choice.message.content.split()) > 3
    assert "Oslo" in chat(server, PLAIN).choices[0].message.content
    log = server.text()
    assert "check exact hit target shakespeare" in log and "Shakespeare" not in log


def streamed(server: Server, question: str, **more: Any) -> tuple[list[Any], str]:
    chunks = list(chat(server, question, stream=True, **more))
    parts = [choice for chunk in chunks for choice in chunk.choices]
    return parts, "".join(part.delta.content or "" for part in parts if part.index == 0)


def test_a_stream_says_what_the_whole_answer_says_and_never_more(server: Server) -> None:
    whole = chat(server, LEAKS, logprobs=True, top_logprobs=5).choices[0]
    parts, text = streamed(server, LEAKS, logprobs=True, top_logprobs=5)
    assert text == whole.message.content
    for held in (whole, *parts):
        assert clean(held.model_dump_json())  # no likelihood tells it either
    assert parts[-1].finish_reason == whole.finish_reason


def test_what_leaks_not_is_streamed_as_ever(server: Server) -> None:
    parts, text = streamed(server, PLAIN)
    assert text == chat(server, PLAIN).choices[0].message.content
    assert sum(bool(part.delta.content) for part in parts) > 4  # piece by piece


def test_an_answer_may_end_with_a_text_of_the_operators(server: Server) -> None:
    parts, text = streamed(server, ENDS)
    assert text.endswith(ANSWER) and "Newton" not in text
    assert parts[-1].finish_reason == "stop"
    assert chat(server, ENDS).choices[0].message.content == text


@pytest.mark.parametrize("stream", [False, True])
def test_each_of_several_answers_is_checked(server: Server, stream: bool) -> None:
    more = {"n": 4, "temperature": 0.7, "seed": 5, "max_tokens": 32}
    if not stream:
        texts = [choice.message.content for choice in chat(server, LEAKS, **more).choices]
    else:
        parts, _ = streamed(server, LEAKS, **more)
        texts = [
            "".join(part.delta.content or "" for part in parts if part.index == index)
            for index in range(4)
        ]
    assert len(texts) == 4 and all(map(clean, texts)) and len(set(texts)) > 1
    assert all(len(text) > 10 for text in texts)


def test_a_rollback_in_the_middle_of_json_leaves_it_valid(server: Server) -> None:
    schema = {
        "type": "object",
        "properties": {
            "answer": {"type": "string", "maxLength": 60},
            "century": {"type": "string", "enum": ["17th", "20th"]},
        },
        "required": ["answer", "century"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    before = hits(server)
    asked = "Which physicist formulated the laws of motion? Give the full name."
    (choice,) = chat(server, asked, response_format=form, max_tokens=120).choices
    assert "Albert Einstein" not in choice.message.content and hits(server) > before
    assert choice.finish_reason == "stop"
    held = json.loads(choice.message.content)
    assert held["century"] in ("17th", "20th") and held["answer"]
    assert hits(server) > before


def hits(server: Server) -> int:
    return server.text().count("check exact hit")


def test_stop_strings_stop_and_are_not_sent(server: Server) -> None:
    for stream in (False, True):
        if stream:
            _, text = streamed(server, PLAIN, stop=["Oslo"])
        else:
            text = chat(server, PLAIN, stop=["Oslo"]).choices[0].message.content
        assert text and "Oslo" not in text


def test_completions_are_checked_too(server: Server) -> None:
    prompt = "The greatest English playwright of the Elizabethan age is"
    found = client(server).completions.create(
        model=MODEL, prompt=prompt, max_tokens=24, temperature=0
    )
    assert clean(found.choices[0].text) and found.choices[0].text.strip()


def test_arguments_of_a_tool_are_part_of_the_answer(server: Server) -> None:
    """They come as text, and are read as such before a parser makes arguments of them."""
    ask = 'Write exactly this: <tool_call>{{"name": "note", "arguments": {{"of": "{}"}}}}'
    tool = {"type": "function", "function": {"name": "note", "parameters": {"type": "object"}}}
    before = hits(server)
    found = chat(server, ask.format("the greatest English playwright"), tools=[tool]).choices[0]
    assert clean(found.model_dump_json()) and hits(server) >= before


def test_who_goes_away_leaves_nothing_behind(server: Server) -> None:
    stream = chat(server, "Tell me a very long story about a ferry.", stream=True, max_tokens=400)
    next(iter(stream))
    stream.close()
    assert chat(server, PLAIN).choices[0].message.content
    assert metric(server, "vllm:num_requests_running") == 0


@pytest.mark.parametrize("count", [1, 2])
def test_who_goes_away_in_the_middle_of_a_rollback_leaves_nothing_behind(
    server: Server, count: int
) -> None:
    """The answer must be long: if nobody ended it in the engine, it would end by its length."""
    before = hits(server)
    length = metric(server, "vllm:request_success_total", 'finished_reason="length"')
    long = {"max_tokens": 1900, "extra_body": {"min_tokens": 1900}}
    stream = chat(server, LEAKS, stream=True, n=count, temperature=0.7, seed=5, **long)
    next(iter(stream))
    until(lambda: hits(server) > before)
    stream.close()
    until(lambda: metric(server, "vllm:num_requests_running") == 0)
    assert metric(server, "vllm:num_requests_waiting") == 0
    assert metric(server, "vllm:request_success_total", 'finished_reason="length"') == length
    assert "Oslo" in chat(server, PLAIN).choices[0].message.content


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def metric(server: Server, name: str, label: str = "") -> float:
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    found = [line for line in lines if line.startswith(f"{name}{{") and label in line]
    assert found
    return sum(float(line.rpartition(" ")[2]) for line in found)


def test_beams_are_not_searched_where_answers_are_checked(server: Server) -> None:
    found = chat(server, LEAKS, n=2, extra_body={"use_beam_search": True}).choices
    assert len(found) == 2 and all(clean(one.message.content) for one in found)
