"""`/v1/embeddings`: judged, and passed on; served where the operator names a model for it."""

from typing import Any, ClassVar

from guard.proxy.checks import Checks
from guard.proxy.counting import Counter
from guard.proxy.enforcement import REFUSE, Edit
from guard.proxy.fields import Fields, is_plain
from guard.proxy.message import Refused
from guard.proxy.schemas import common
from guard.proxy.schemas.base import Reading, Schema, Told
from guard.proxy.sse import Event
from guard.proxy.texts import Asked, Texts

NO_VECTOR = "This input cannot be turned into a vector on this server."
_MOST = 2048  # inputs


class Embeddings(Schema):
    """Embeddings. What is flagged has no vector: from one, the text could be told."""

    path = "/v1/embeddings"
    carries: ClassVar[frozenset[str]] = frozenset({REFUSE})
    refuses = True
    fields: ClassVar[Fields] = Fields(
        read=frozenset({"input", "encoding_format"}),
        plain=frozenset({"dimensions", "normalize", "add_special_tokens", "priority"}),
        labels=common.LABELS,
        dropped=common.DROPPED,
        refused=common.REFUSED,
    )

    def read(self, body: dict[str, Any], counter: Counter) -> Asked:
        value = body.get("input")
        given = [value] if isinstance(value, str) else value
        if not isinstance(given, list) or not 0 < len(given) <= _MOST:
            raise Refused("input: give a text or a list of texts", param="input")
        if not all(isinstance(one, str) for one in given):
            raise Refused("input: token ids cannot be read here; send text", param="input")
        if body.get("encoding_format") not in (None, "float", "base64"):
            raise Refused("encoding_format: float or base64", param="encoding_format")
        texts = Texts()
        for one in given:
            texts.say("prompt", one)
        return Asked(texts.view(), ())

    def edited(self, body: dict[str, Any], edit: Edit, counter: Counter) -> dict[str, Any]:
        raise Refused(NO_VECTOR, param="input")

    def answer(self, text: str, told: Told) -> dict[str, Any]:
        raise Refused(NO_VECTOR, param="input")

    def stream(self, text: str, told: Told) -> list[Event]:
        raise Refused(NO_VECTOR, param="input")

    def reading(self, checks: Checks, told: Told) -> "EmbeddingReading":
        return EmbeddingReading(checks, told)


class EmbeddingReading(Reading):
    """Passes vectors on."""

    @property
    def over(self) -> bool:
        return True

    async def whole(self, value: dict[str, Any]) -> dict[str, Any]:
        data = [
            {"object": "embedding", "index": one.get("index"), "embedding": one.get("embedding")}
            for one in value.get("data") or []
        ]
        usage = value.get("usage")
        made = {"object": "list", "data": data, "model": self.told.model}
        return {**made, "usage": usage if is_plain(usage) else None}

    async def event(self, event: Event) -> list[Event]:
        return []

    async def end(self) -> list[Event]:
        return []
