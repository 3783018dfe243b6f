"""Every way to ask the server, each returning the texts that came back. A new route joins here."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx

from tests.engine.servers import MODEL

Ask = Callable[[httpx.Client, str], list[str]]
ENDPOINTS: dict[str, Ask] = {}

# A client who asks for randomness must be guarded as well; seeded, so that a failure repeats.
_SAMPLED = {"temperature": 0.8, "seed": 7}


def endpoint(ask: Ask) -> Ask:
    ENDPOINTS[ask.__name__] = ask
    return ask


def chat_body(question: str, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": question}]
    return {"model": MODEL, "messages": messages, "max_tokens": 40, "temperature": 0, **more}


def completion_body(prompt: str | list[int], **more: Any) -> dict[str, Any]:
    return {"model": MODEL, "prompt": prompt, "max_tokens": 24, "temperature": 0, **more}


def post(client: httpx.Client, path: str, body: dict[str, Any]) -> Any:
    response = client.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.json()


def events(client: httpx.Client, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    with client.stream("POST", path, json={**body, "stream": True}) as response:
        assert response.status_code == 200
        for line in response.iter_lines():
            if line.startswith("data: ") and line != "data: [DONE]":
                yield json.loads(line[6:])


def tokens(client: httpx.Client, prompt: str) -> list[int]:
    ids: list[int] = post(client, "/tokenize", {"model": MODEL, "prompt": prompt})["tokens"]
    return ids


def _contents(answer: Any) -> list[str]:
    return [choice["message"]["content"] or "" for choice in answer["choices"]]


@endpoint
def chat(client: httpx.Client, question: str) -> list[str]:
    return _contents(post(client, "/v1/chat/completions", chat_body(question)))


@endpoint
def chat_streamed(client: httpx.Client, question: str) -> list[str]:
    chunks = list(events(client, "/v1/chat/completions", chat_body(question)))
    assert chunks[-1]["choices"][0]["finish_reason"] in ("stop", "length")
    return ["".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)]


@endpoint
def chat_two_samples(client: httpx.Client, question: str) -> list[str]:
    texts = _contents(post(client, "/v1/chat/completions", chat_body(question, n=2, **_SAMPLED)))
    assert len(texts) == 2
    return texts


@endpoint
def chat_two_streamed(client: httpx.Client, question: str) -> list[str]:
    texts = {0: "", 1: ""}
    for chunk in events(client, "/v1/chat/completions", chat_body(question, n=2, **_SAMPLED)):
        for choice in chunk["choices"]:
            texts[choice["index"]] += choice["delta"].get("content") or ""
    return list(texts.values())


@endpoint
def chat_json(client: httpx.Client, question: str) -> list[str]:
    schema = {"type": "object", "properties": {"answer": {"type": "string", "maxLength": 30}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    return _contents(
        post(client, "/v1/chat/completions", chat_body(question, response_format=wanted))
    )


@endpoint
def chat_tools(client: httpx.Client, question: str) -> list[str]:
    function = {"name": "say", "parameters": {"type": "object", "properties": {}}}
    tools = [{"type": "function", "function": function}]
    return _contents(post(client, "/v1/chat/completions", chat_body(question, tools=tools)))


@endpoint
def chat_prefilled(client: httpx.Client, question: str) -> list[str]:
    body = chat_body(question, add_generation_prompt=False, continue_final_message=True)
    body["messages"].append({"role": "assistant", "content": "The answer is"})
    return _contents(post(client, "/v1/chat/completions", body))


@endpoint
def chat_batch(client: httpx.Client, question: str) -> list[str]:
    body = chat_body(question)
    body["messages"] = [body["messages"], [{"role": "user", "content": "Name one colour."}]]
    return _contents(post(client, "/v1/chat/completions/batch", body))[:1]


@endpoint
def completion(client: httpx.Client, question: str) -> list[str]:
    answer = post(client, "/v1/completions", completion_body(question))
    return [choice["text"] for choice in answer["choices"]]


@endpoint
def completion_of_token_ids(client: httpx.Client, question: str) -> list[str]:
    answer = post(client, "/v1/completions", completion_body(tokens(client, question)))
    return [choice["text"] for choice in answer["choices"]]


@endpoint
def completion_streamed(client: httpx.Client, question: str) -> list[str]:
    chunks = events(client, "/v1/completions", completion_body(question))
    return ["".join(chunk["choices"][0]["text"] for chunk in chunks)]


@endpoint
def completion_beams(client: httpx.Client, question: str) -> list[str]:
    body = completion_body(question, n=2, use_beam_search=True)
    return [choice["text"] for choice in post(client, "/v1/completions", body)["choices"]]


@endpoint
def chat_beams(client: httpx.Client, question: str) -> list[str]:
    body = chat_body(question, n=2, use_beam_search=True)
    return _contents(post(client, "/v1/chat/completions", body))


@endpoint
def responses(client: httpx.Client, question: str) -> list[str]:
    body = {"model": MODEL, "input": question, "max_output_tokens": 40, "temperature": 0}
    answer = post(client, "/v1/responses", body)
    return [content["text"] for item in answer["output"] for content in item["content"]]


@endpoint
def responses_streamed(client: httpx.Client, question: str) -> list[str]:
    body = {"model": MODEL, "input": question, "max_output_tokens": 40, "temperature": 0}
    deltas = [
        event["delta"]
        for event in events(client, "/v1/responses", body)
        if event["type"] == "response.output_text.delta"
    ]
    return ["".join(deltas)]


@endpoint
def messages(client: httpx.Client, question: str) -> list[str]:
    answer = post(client, "/v1/messages", chat_body(question))
    return [content["text"] for content in answer["content"]]


@endpoint
def messages_streamed(client: httpx.Client, question: str) -> list[str]:
    deltas = [
        event["delta"]["text"]
        for event in events(client, "/v1/messages", chat_body(question))
        if event["type"] == "content_block_delta"
    ]
    return ["".join(deltas)]


@endpoint
def invocations(client: httpx.Client, question: str) -> list[str]:
    return _contents(post(client, "/invocations", chat_body(question)))


@endpoint
def invocations_completion(client: httpx.Client, question: str) -> list[str]:
    answer = post(client, "/invocations", completion_body(question))
    return [choice["text"] for choice in answer["choices"]]


@endpoint
def tokens_in_tokens_out(client: httpx.Client, question: str) -> list[str]:
    body = {
        "model": MODEL,
        "token_ids": tokens(client, question),
        "sampling_params": {"max_tokens": 24, "temperature": 0},
    }
    answer = post(client, "/inference/v1/generate", body)
    ids = answer["choices"][0]["token_ids"]
    return [post(client, "/detokenize", {"model": MODEL, "tokens": ids})["prompt"]]
