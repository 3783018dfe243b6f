"""One question put to two servers: the guarded one and the one without a guard."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

_MOST_TOKENS = 512


@dataclass(frozen=True)
class Server:
    """An OpenAI-compatible server.

    Attributes:
        url: Its address, without ``/v1``.
        key: What it is shown, if anything.
    """

    url: str
    key: str | None = field(default=None, repr=False)

    @property
    def headers(self) -> Mapping[str, str]:
        """What goes with each request."""
        return {} if self.key is None else {"Authorization": f"Bearer {self.key}"}


@dataclass(frozen=True)
class Pair:
    """The two servers that are asked side by side.

    Attributes:
        guarded: The one with a guard.
        unguarded: The one without: what it answers may be what is to be forgotten.
    """

    guarded: Server
    unguarded: Server

    async def ask(
        self, client: httpx.AsyncClient, prompt: str, most: int = 128
    ) -> dict[str, dict[str, Any]]:
        """Asks both at once.

        Args:
            client: Asks.
            prompt: The question.
            most: Tokens of an answer.

        Returns:
            Of each: `text`, `model`, `finish_reason`, `seconds`, and `error` where it failed.
        """
        most = min(most, _MOST_TOKENS)
        both = (self.guarded, self.unguarded)
        told = await asyncio.gather(*(_ask(client, server, prompt, most) for server in both))
        return dict(zip(("guarded", "unguarded"), told, strict=True))


async def _ask(client: httpx.AsyncClient, server: Server, prompt: str, most: int) -> dict[str, Any]:
    told: dict[str, Any] = dict.fromkeys(("text", "model", "finish_reason", "error"))
    start = time.monotonic()
    try:
        models = await client.get(f"{server.url}/v1/models", headers=server.headers)
        models.raise_for_status()
        told["model"] = str(models.json()["data"][0]["id"])
        body = {
            "model": told["model"],
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": most,
            "temperature": 0,
        }
        url = f"{server.url}/v1/chat/completions"
        reply = await client.post(url, json=body, headers=server.headers)
        reply.raise_for_status()
        choice = reply.json()["choices"][0]
        told["text"] = str(choice["message"]["content"] or "")
        told["finish_reason"] = choice["finish_reason"]
    except httpx.HTTPStatusError as error:
        told["error"] = f"answered {error.response.status_code}"
    except httpx.HTTPError as error:
        told["error"] = f"cannot be reached ({type(error).__name__})"
    except (ValueError, KeyError, IndexError, TypeError):
        told["error"] = "did not answer as OpenAI's API does"
    told["seconds"] = round(time.monotonic() - start, 3)
    return told
