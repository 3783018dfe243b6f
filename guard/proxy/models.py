"""The models that clients may use, and whether guard and server are well."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from guard.engine.worker import Worker
from guard.proxy.fields import is_bare
from guard.proxy.message import NO_KEY, Refused, Reply
from guard.proxy.routes import MODELS
from guard.proxy.upstream import Upstream

_TOLD = ("id", "object", "owned_by", "root", "permission")
_FRESH = 1.0  # seconds that what was found of the server's health holds
_PATIENCE = 5.0  # seconds that are waited for it


class Catalogue:
    """Answers what is asked about models; adapters are not among them.

    Args:
        upstream: The server behind.
        served: The names of the bundle's model there, the first in place of none.
        embeddings: Models for embeddings.
    """

    def __init__(
        self, upstream: Upstream, served: Sequence[str], embeddings: Sequence[str] = ()
    ) -> None:
        self._upstream = upstream
        self._served, self._embeddings = tuple(served), tuple(embeddings)
        self._checked, self._well = -_FRESH, False
        self._checking = asyncio.Lock()

    def named(self, model: Any, *, embeds: bool) -> str:
        """Which model a request means.

        Raises:
            Refused: None that it may use.
        """
        allowed = self._embeddings if embeds else self._served
        if model is None:
            return allowed[0]
        if not isinstance(model, str):
            raise Refused("model: give a name", param="model")
        if model not in allowed:
            raise Refused(f"The model `{model[:100]}` does not exist.", 404, "model")
        return model

    async def reply(self, path: str, headers: Mapping[str, str]) -> Reply:
        """The list of models, or one of them."""
        response = await self._checked_get(headers)
        try:
            listed = response.json()["data"]
            known = {one["id"]: one for one in listed}
        except (ValueError, KeyError, TypeError):
            raise Refused("The model server lists no models.", 502) from None
        told = [_told(known[n]) for n in (*self._served, *self._embeddings) if n in known]
        if path == MODELS:
            return Reply.of({"object": "list", "data": told})
        name = path.removeprefix(f"{MODELS}/")
        for one in told:
            if one["id"] == name:
                return Reply.of(one)
        raise Refused(f"The model `{name[:100]}` does not exist.", 404, "model")

    async def admitted(self, headers: Mapping[str, str]) -> None:
        """Makes sure that the server behind would serve a client that it is not asked for.

        Else a client without a key of its own could tell flagged prompts by their being answered.

        Raises:
            Refused: It would not, or is not there.
        """
        await self._checked_get(headers)

    async def health(self, worker: Worker, *, draining: bool) -> Reply:
        """Whether requests are taken, can be judged and answered.

        Args:
            worker: Who judges.
            draining: Whether the proxy is going down.
        """
        async with self._checking:  # whoever comes meanwhile is told what is found, too
            if time.monotonic() - self._checked >= _FRESH:
                self._well = await self._is_well()
                self._checked = time.monotonic()
        found = {
            "proxy": "draining" if draining else "ok",
            "guard": "ok" if worker.stuck < worker.most_stuck else "failed",
            "upstream": "ok" if self._well else "failed",
        }
        return Reply.of(found, 200 if {*found.values()} == {"ok"} else 503)

    async def _is_well(self) -> bool:
        try:
            async with asyncio.timeout(_PATIENCE):
                response = await self._upstream.get("/health")
                if response.status_code == 404:  # not every server has it
                    response = await self._upstream.get(MODELS)
        except (Refused, TimeoutError):
            return False
        return response.status_code in (200, 401, 403)

    async def _checked_get(self, headers: Mapping[str, str]) -> Any:
        response = await self._upstream.get(MODELS, headers)
        if response.status_code in (401, 403):
            raise Refused(NO_KEY, 401)
        if response.status_code != 200:
            raise Refused("The model server cannot be reached.", 502, retry=5)
        return response


def _told(model: Mapping[str, Any]) -> dict[str, Any]:
    return {name: one for name, one in model.items() if name in _TOLD or is_bare(one)}
