"""Streamed chat requests at a fixed concurrency, and how long their tokens took."""

import asyncio
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

PATIENCE = 300  # seconds that one answer may take


@dataclass(frozen=True)
class Answer:
    """One streamed answer.

    Attributes:
        first: Seconds from sending the request to its first token.
        last: Seconds from sending it to its last token.
        tokens: How many tokens it has.
    """

    first: float
    last: float
    tokens: int

    @property
    def between(self) -> float:
        """Seconds between two of its tokens, on average."""
        return (self.last - self.first) / (self.tokens - 1)


@dataclass
class Load:
    """What came of some requests.

    Attributes:
        seconds: From the first request to the last answer.
        answers: The complete answers.
        failures: Why the others are not complete.
    """

    seconds: float = 0.0
    answers: list[Answer] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def figures(self) -> dict[str, float]:
        """Throughput and the medians over the answers: time to first token, and between tokens."""
        return {
            "throughput": sum(answer.tokens for answer in self.answers) / self.seconds,
            "ttft": 1000 * statistics.median(answer.first for answer in self.answers),
            "itl": 1000 * statistics.median(answer.between for answer in self.answers),
        }


async def load(url: str, model: str, prompts: Sequence[str], concurrency: int, tokens: int) -> Load:
    """Asks all prompts, as many at a time as the concurrency says, greedily.

    Args:
        url: The server.
        model: Its model.
        prompts: What to ask.
        concurrency: How many requests are under way at any time.
        tokens: How many tokens each answer must have: the end-of-text token is ignored.
    """
    done = Load()
    waiting = iter(prompts)
    limits = httpx.Limits(max_connections=concurrency)
    async with httpx.AsyncClient(
        base_url=url, timeout=PATIENCE, trust_env=False, limits=limits
    ) as client:

        async def ask_on() -> None:
            for prompt in waiting:
                try:
                    done.answers.append(await _ask(client, model, prompt, tokens))
                except (httpx.HTTPError, ValueError) as error:
                    done.failures.append(f"{type(error).__name__}: {error}")

        began = time.perf_counter()
        await asyncio.gather(*(ask_on() for _ in range(concurrency)))
        done.seconds = time.perf_counter() - began
    return done


async def _ask(client: httpx.AsyncClient, model: str, prompt: str, tokens: int) -> Answer:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "temperature": 0,
        "max_tokens": tokens,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    began = time.perf_counter()
    first = last = None
    given = 0
    async with client.stream("POST", "/v1/chat/completions", json=body) as response:
        if not response.is_success:
            await response.aread()
            raise ValueError(f"HTTP {response.status_code}: {response.text[:200]}")
        async for line in response.aiter_lines():
            if not line.startswith("data: ") or line == "data: [DONE]":
                continue
            now = time.perf_counter() - began
            event: dict[str, Any] = json.loads(line.removeprefix("data: "))
            if "error" in event:
                raise ValueError(str(event["error"])[:200])
            if event["choices"]:  # the first comes with the first token, the last with the last
                first, last = now if first is None else first, now
            given = (event.get("usage") or {}).get("completion_tokens", given)
    if first is None or last is None or given != tokens:
        raise ValueError(f"the answer has {given} tokens, not {tokens}")
    return Answer(first, last, given)
