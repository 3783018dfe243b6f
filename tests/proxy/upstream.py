"""A server that answers as it is told to, and notes what it is asked."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

MODEL = "builtin:smollm2"
ADAPTER = "forget-book"


@dataclass
class Fake:
    """An OpenAI-compatible server, as an ASGI application.

    Attributes:
        pieces: What it says, piece by piece.
        reasoning: What it thinks before.
        calls: Tool calls (name, arguments).
        asked: (path, body, headers) of each POST.
        pause: Seconds between two pieces.
        closed: How many streams were left by whoever read them.
        sent: How many pieces were sent.
        status: Of its answers; anything but 200 is an error of this message.
        owner: Who owns its models.
        key: What it wants to be shown.
        models: What it lists.
        quotes: Whether its message has a place for the prompt.
    """

    pieces: Sequence[str] = ("Hello", " there", ".")
    reasoning: str = ""
    calls: Sequence[tuple[str, str]] = ()
    asked: list[tuple[str, dict[str, Any], dict[str, str]]] = field(default_factory=list)
    pause: float = 0.0
    closed: int = 0
    sent: int = 0
    status: int = 200
    message: str = "no such thing"
    owner: str = "vllm"
    key: str | None = None
    models: Sequence[str] = (MODEL, ADAPTER, "embedder")
    breaks: bool = False
    on: Callable[[dict[str, Any]], int] | None = None
    raw: list[bytes] | None = None
    quotes: bool = False

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def told(self) -> str:
        """All that it was asked, as one text."""
        return json.dumps([body for _, body, _ in self.asked], ensure_ascii=False)

    @property
    def body(self) -> dict[str, Any]:
        """What it was asked last."""
        return self.asked[-1][1]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        headers = {k.decode(): v.decode() for k, v in scope["headers"]}
        path = scope["path"]
        if self.key and headers.get("authorization") != f"Bearer {self.key}":
            await self._json(send, 401, {"error": "Unauthorized"})  # as vLLM has it
        elif path == "/health":
            await self._json(send, 200, {})
        elif path == "/v1/models":
            data = [
                {"id": name, "object": "model", "created": 1, "owned_by": self.owner, "root": name}
                for name in self.models
            ]
            await self._json(send, 200, {"object": "list", "data": data})
        else:
            await self._answer(path, headers, receive, send)

    async def _answer(self, path: str, headers: dict[str, str], receive: Any, send: Any) -> None:
        raw = b""
        while True:
            message = await receive()
            raw += message.get("body", b"")
            if not message.get("more_body"):
                break
        body = json.loads(raw)
        self.asked.append((path, body, headers))
        status = self.on(body) if self.on else self.status
        if status != 200:
            said = self.message.format(_asked(body)) if self.quotes else self.message
            error = {"message": said, "type": "BadRequestError", "param": "x", "code": 1}
            await self._json(send, status, {"error": error})
            return
        kind = path.removeprefix("/v1/").replace("/", "_")
        if not body.get("stream"):
            await self._json(send, 200, getattr(self, f"whole_{kind}")(body))
            return
        start = {"type": "http.response.start", "status": 200}
        await send({**start, "headers": [(b"content-type", b"text/event-stream")]})
        gone = asyncio.ensure_future(self._gone(receive))
        try:
            async for chunk in self._wire(kind, body):
                if gone.done():
                    self.closed += 1
                    return
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                self.sent += 1
                await asyncio.sleep(self.pause)
            await send({"type": "http.response.body", "body": b""})
        finally:
            gone.cancel()

    async def _gone(self, receive: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async def _wire(self, kind: str, body: dict[str, Any]) -> AsyncIterator[bytes]:
        if self.raw is not None:
            for chunk in self.raw:
                yield chunk
            return
        for value in getattr(self, f"stream_{kind}")(body):
            name = f"event: {value['type']}\n" if "type" in value else ""
            yield f"{name}data: {json.dumps(value)}\n\n".encode()
        if kind in ("chat_completions", "completions") and not self.breaks:
            yield b"data: [DONE]\n\n"

    async def _json(self, send: Any, status: int, value: Any) -> None:
        headers = [(b"content-type", b"application/json"), (b"x-secret", b"1")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(value).encode()})

    usage: ClassVar = {"prompt_tokens": 50, "completion_tokens": 9, "total_tokens": 59}

    def _tool_calls(self) -> list[dict[str, Any]]:
        return [
            {"id": f"call_{n}", "type": "function", "function": {"name": a, "arguments": b}}
            for n, (a, b) in enumerate(self.calls)
        ]

    def whole_chat_completions(self, body: dict[str, Any]) -> dict[str, Any]:
        message = {"role": "assistant", "content": self.text, "tool_calls": self._tool_calls()}
        if self.reasoning:
            message["reasoning"] = self.reasoning
        choice = {"message": message, "finish_reason": "stop", "stop_reason": None}
        choice["logprobs"] = {"content": []} if body.get("logprobs") else None
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": body["model"],
            "choices": [{"index": n, **choice} for n in range(body.get("n") or 1)],
            "usage": self.usage,
            "prompt_text": "all that was read",
            "system_fingerprint": None,
        }

    def whole_messages_count_tokens(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"input_tokens": 50, "context_management": {"original_input_tokens": 50}}

    def stream_chat_completions(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        frame = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1}
        frame["model"] = body["model"]
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        if self.reasoning:
            deltas.append({"reasoning": self.reasoning})
        deltas += [{"content": piece} for piece in self.pieces]
        for n, call in enumerate(self._tool_calls()):
            arguments = call["function"].pop("arguments")
            deltas.append({"tool_calls": [{"index": n, **call}]})
            for at in range(0, len(arguments), 4):
                part = {"index": n, "function": {"arguments": arguments[at : at + 4]}}
                deltas.append({"tool_calls": [part]})
        count = range(body.get("n") or 1)
        chunks = [
            {**frame, "choices": [{"index": n, "delta": delta, "finish_reason": None}]}
            for delta in deltas
            for n in count
        ]
        last = {"delta": {}, "finish_reason": "stop"}
        if not self.breaks:
            chunks += [{**frame, "choices": [{"index": n, **last}]} for n in count]
        if (body.get("stream_options") or {}).get("include_usage"):
            chunks.append({**frame, "choices": [], "usage": self.usage})
        return chunks

    def whole_completions(self, body: dict[str, Any]) -> dict[str, Any]:
        count = (body.get("n") or 1) * _prompts(body)
        choice = {"text": self.text, "finish_reason": "stop", "logprobs": None}
        return {
            "id": "cmpl-1",
            "object": "text_completion",
            "created": 1,
            "model": body["model"],
            "choices": [{"index": n, **choice} for n in range(count)],
            "usage": self.usage,
        }

    def stream_completions(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        frame = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": body["model"]}
        steps = [(piece, None) for piece in self.pieces] + [("", "stop")]
        count = range((body.get("n") or 1) * _prompts(body))
        return [
            {**frame, "choices": [{"index": n, "text": text, "finish_reason": reason}]}
            for text, reason in steps
            for n in count
        ]

    def whole_messages(self, body: dict[str, Any]) -> dict[str, Any]:
        calls = [
            {"type": "tool_use", "id": f"toolu_{n}", "name": name, "input": json.loads(given)}
            for n, (name, given) in enumerate(self.calls)
        ]
        return {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": [{"type": "text", "text": self.text}, *calls],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 50, "output_tokens": 9},
        }

    def stream_messages(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        message = {**self.whole_messages(body), "content": [], "stop_reason": None}
        block = {"type": "text", "text": ""}
        deltas = [
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": p}}
            for p in self.pieces
        ]
        return [
            {"type": "message_start", "message": message},
            {"type": "ping"},
            {"type": "content_block_start", "index": 0, "content_block": block},
            *deltas,
            {"type": "content_block_stop", "index": 0},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                "usage": {"output_tokens": 9},
            },
            {"type": "message_stop"},
        ]

    def whole_responses(self, body: dict[str, Any]) -> dict[str, Any]:
        calls = [
            {"type": "function_call", "id": f"fc_{n}", "call_id": f"c{n}", "name": name,
             "arguments": given, "status": "completed"}
            for n, (name, given) in enumerate(self.calls)
        ]  # fmt: skip
        part = {"type": "output_text", "text": self.text, "annotations": [], "logprobs": None}
        said = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed"}
        return {
            "id": "resp_1",
            "object": "response",
            "created_at": 1,
            "model": body["model"],
            "status": "completed",
            "instructions": body.get("instructions"),
            "output": [{**said, "content": [part]}, *calls],
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": body.get("tools") or [],
            "usage": {"input_tokens": 50, "output_tokens": 9, "total_tokens": 59},
        }

    def stream_responses(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        whole = self.whole_responses(body)
        item = whole["output"][0]
        at = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
        part = item["content"][0]
        begun = {**item, "content": [], "status": "in_progress"}
        steps: list[dict[str, Any]] = [
            {"type": "response.created", "response": {**whole, "output": [], "usage": None}},
            {"type": "response.output_item.added", "output_index": 0, "item": begun},
            {"type": "response.content_part.added", **at, "part": {**part, "text": ""}},
        ]
        for piece in self.pieces:
            delta = {"delta": piece, "logprobs": []}
            steps.append({"type": "response.output_text.delta", **at, **delta})
        steps += [
            {"type": "response.output_text.done", **at, "text": self.text, "logprobs": []},
            {"type": "response.content_part.done", **at, "part": part},
            {"type": "response.output_item.done", "output_index": 0, "item": item},
            {"type": "response.completed", "response": {**whole, "output": [item]}},
        ]
        return [{**step, "sequence_number": n} for n, step in enumerate(steps)]

    def whole_embeddings(self, body: dict[str, Any]) -> dict[str, Any]:
        data = [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}]
        usage: ClassVar = {"prompt_tokens": 3, "total_tokens": 3}
        return {"object": "list", "data": data, "model": body["model"], "usage": usage}


def _asked(body: dict[str, Any]) -> str:
    """The text of a prompt of one text."""
    found = body.get("prompt") or body.get("input") or body["messages"][-1]["content"]
    return str(found)


def _prompts(body: dict[str, Any]) -> int:
    prompt = body["prompt"]
    listed = isinstance(prompt, list) and not isinstance(prompt[0], int)
    return len(prompt) if listed else 1
