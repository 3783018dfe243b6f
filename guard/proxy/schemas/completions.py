"""`/v1/completions`: texts to go on from; token ids where they can be read."""

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from guard.errors import OutputError
from guard.proxy.checks import Checks
from guard.proxy.counting import Counter
from guard.proxy.endings import Ending
from guard.proxy.enforcement import ADAPTER, INSTRUCT, PENALIZE, REFUSE, Edit
from guard.proxy.fields import Fields, answers
from guard.proxy.logprobs import completion_placeholders
from guard.proxy.message import Refused
from guard.proxy.said import Said
from guard.proxy.schemas import common, restating
from guard.proxy.schemas.base import Schema, Told
from guard.proxy.schemas.choices import ChoicesReading, number_of, used
from guard.proxy.sse import DONE, Event
from guard.proxy.texts import Asked, Texts

MOST_PROMPTS = 128

Prompt = str | list[int]


class Completions(Schema):
    """Completions. The prompts of one request are judged together."""

    path = "/v1/completions"
    carries: ClassVar[frozenset[str]] = frozenset({REFUSE, INSTRUCT, PENALIZE, ADAPTER})
    prompt, limit, steers = ("prompt", "suffix"), "max_tokens", True
    usual: ClassVar[int | None] = 16
    fields: ClassVar[Fields] = Fields(
        read=common.STEERING | {"prompt", "suffix"},
        plain=common.SAMPLING | {"logprobs"},
        labels=common.LABELS,
        dropped=common.DROPPED,
        refused={**common.REFUSED, "best_of": "this server takes 'n'"},
    )

    def read(self, body: dict[str, Any], counter: Counter) -> Asked:
        texts = Texts()
        for prompt in prompts(body):
            said = prompt if isinstance(prompt, str) else counter.read(prompt)
            if said is None:
                raise Refused("prompt: token ids cannot be read here; send text", param="prompt")
            texts.say("prompt", said)
        texts.note("suffix", body.get("suffix"))
        common.read_steering(texts, body, counter)
        logprobs = body.get("logprobs") is not None and body.get("logprobs") is not False
        answers(body)
        return Asked(
            texts.view(), tuple(texts.steering), body.get("stream") is True, _count(body), logprobs
        )

    def edited(self, body: dict[str, Any], edit: Edit, counter: Counter) -> dict[str, Any]:
        found = common.with_bad_words(body, edit, counter)
        front = common.added_text(edit)
        if not front:
            return found
        # Tokens go on as tokens: they need not be those that their text would make.
        ids = counter.tokens(front)
        edited = [f"{front}{p}" if isinstance(p, str) else [*ids, *p] for p in prompts(body)]
        alone = isinstance(body["prompt"], str) or body["prompt"] == prompts(body)[0]
        return {**found, "prompt": edited[0] if alone else edited}

    def answer(self, text: str, told: Told) -> dict[str, Any]:
        count = _count(told.body)
        logprobs = completion_placeholders(text) if told.logprobs else None
        choice = {"text": text, "logprobs": logprobs, "finish_reason": "stop"}
        prompt = prompt_tokens(told.body, told.counter)
        return {
            **_frame(told),
            "choices": [{"index": number, **choice} for number in range(count)],
            "usage": used(prompt, told.counter.count(text) * count),
        }

    def stream(self, text: str, told: Told) -> list[Event]:
        frame, count = _frame(told), _count(told.body)
        logprobs = completion_placeholders(text) if told.logprobs else None
        steps: Sequence[dict[str, Any]] = [
            {"text": text, "logprobs": logprobs, "finish_reason": None},
            {"text": "", "logprobs": None, "finish_reason": "stop"},
        ]
        events = [
            Event({**frame, "choices": [{"index": n, **step}]})
            for step in steps
            for n in range(count)
        ]
        if (told.body.get("stream_options") or {}).get("include_usage"):
            prompt = prompt_tokens(told.body, told.counter)
            usage = used(prompt, told.counter.count(text) * count)
            events.append(Event({**frame, "choices": [], "usage": usage}))
        return [*events, Event(DONE)]

    def plain_prompt(self, body: Mapping[str, Any], text: str) -> dict[str, Any]:
        return {"prompt": text if isinstance(body["prompt"], str) else [text] * len(prompts(body))}

    def prompt_tokens(self, body: Mapping[str, Any], counter: Counter) -> int:
        return prompt_tokens(body, counter)

    def restated(self, value: dict[str, Any], said: Said, told: Told) -> dict[str, Any]:
        return restating.whole(value, said, None)

    def restreamed(self, events: Sequence[Event], said: Said, told: Told) -> list[Event]:
        return restating.stream(events, said, None)

    def goes_on(self, body: Mapping[str, Any]) -> str | None:
        return "text" if isinstance(body["prompt"], str) and common.can_go_on(body) else None

    def continued(
        self, body: dict[str, Any], left: str, phrases: Sequence[str], counter: Counter
    ) -> dict[str, Any]:
        found = common.going_on(body, left, phrases, counter)
        return {**found, "prompt": f"{body['prompt']}{left}"}

    def reading(self, checks: Checks, told: Told) -> "CompletionReading":
        return CompletionReading(checks, told)


class CompletionReading(ChoicesReading):
    """Reads a completion."""

    @property
    def prompts(self) -> int:  # type: ignore[override]
        return len(prompts(self.told.body))

    async def one(
        self, choice: dict[str, Any], *, whole: bool, done: bool
    ) -> tuple[dict[str, Any], Ending | None]:
        text, answer = choice.get("text"), self.of(number_of(choice))
        if not isinstance(text, str):
            raise OutputError("an answer of the upstream server has no text")
        start = len(answer.left.get("text", ""))
        piece = await answer.read("text", text, done=done)
        said = answer.left["text"] if whole else piece.text
        if whole and piece.ending is not None:
            said += piece.ending.behind(said)
        made: dict[str, Any] = {"text": said}
        if "logprobs" in choice or self.told.logprobs:
            made["logprobs"] = self.logprobs(choice.get("logprobs"), said, start)
        return (made, piece.ending) if said or done or not text else ({}, piece.ending)

    def last(self, number: int, ending: Ending) -> dict[str, Any]:
        return {"text": ending.behind(self.of(number).left.get("text", "")), "logprobs": None}

    def placeholders(self, text: str, number: int) -> Any:
        return completion_placeholders(text, number)

    def prompt_tokens(self) -> int:
        return prompt_tokens(self.told.body, self.told.counter)


def prompts(body: Any) -> list[Prompt]:
    """The prompts of a body.

    Raises:
        Refused: There are none, or too many.
    """
    value = body.get("prompt")
    if isinstance(value, str):
        return [value]
    found: list[Prompt] = []
    if _are_tokens(value):
        found = [value]
    elif isinstance(value, list) and len(value) <= MOST_PROMPTS:
        found = [one for one in value if isinstance(one, str) or _are_tokens(one)]
    if not found or (found != [value] and len(found) != len(value)):
        raise Refused(
            f"prompt: give a text, or a list of up to {MOST_PROMPTS} texts", param="prompt"
        )
    return found


def prompt_tokens(body: Any, counter: Counter) -> int:
    """How many tokens the prompts have."""
    asked = prompts(body)
    return sum(counter.count(one) if isinstance(one, str) else len(one) for one in asked)


def _count(body: Any) -> int:
    return answers(body) * len(prompts(body))


def _are_tokens(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(one, int) and not isinstance(one, bool) for one in value)
    )


def _frame(told: Told) -> dict[str, Any]:
    return {
        "id": f"cmpl-{uuid.uuid4().hex}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": told.model,
    }
