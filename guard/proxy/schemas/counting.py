"""`/v1/messages/count_tokens`: how many tokens a message would have. The model is not asked."""

from typing import Any, ClassVar

from guard.errors import OutputError
from guard.proxy.checks import Checks
from guard.proxy.fields import Fields, names
from guard.proxy.schemas import common
from guard.proxy.schemas.base import Reading, Told
from guard.proxy.schemas.messages import UNREAD, Messages
from guard.proxy.sse import Event


class CountTokens(Messages):
    """Counts the tokens of the client's own message, as its `usage` does, whatever is forgotten.

    It is read as strictly as one that is answered, and not judged: a number is all that comes back,
    and it is the same for who is flagged.
    """

    path = "/v1/messages/count_tokens"
    judged = False
    fields: ClassVar[Fields] = Fields(
        read=names("messages system tools tool_choice output_config thinking chat_template_kwargs"),
        plain=frozenset(),
        labels=frozenset({"model", "cache_control"}),
        refused={**common.REFUSED, "context_management": UNREAD},
    )

    def reading(self, checks: Checks, told: Told) -> "CountReading":
        return CountReading(checks, told)


class CountReading(Reading):
    """Passes a number on."""

    @property
    def over(self) -> bool:
        return True

    async def whole(self, value: dict[str, Any]) -> dict[str, Any]:
        count = value.get("input_tokens")
        if not isinstance(count, int):
            raise OutputError("the upstream server tells no number of tokens")
        made: dict[str, Any] = {"input_tokens": count}
        if "context_management" in value:
            made["context_management"] = {"original_input_tokens": count}
        return made

    async def event(self, event: Event) -> list[Event]:
        return []

    async def end(self) -> list[Event]:
        return []
