"""Answers of `/v1/responses`: output items, whole and event by event."""

from typing import Any

from guard.errors import OutputError
from guard.proxy.endings import Ending
from guard.proxy.logprobs import chat_placeholders
from guard.proxy.schemas import responses_items as items
from guard.proxy.schemas.base import Reading
from guard.proxy.sse import Event

# What events tell of texts: the text's name, and the field of the index beside the item's.
_DELTAS = {
    "response.output_text": ("text", "content_index", "text"),
    "response.refusal": ("refusal", "content_index", "refusal"),
    "response.reasoning_text": ("reason", "content_index", "text"),
    "response.reasoning_summary_text": ("summary", "summary_index", "text"),
    "response.function_call_arguments": ("arguments", None, "arguments"),
    "response.custom_tool_call_input": ("input", None, "input"),
}
_PARTS = (
    "response.content_part",
    "response.reasoning_part",
    "response.reasoning_summary_part",
)
_ENDS = ("response.completed", "response.incomplete")
_BEGINS = ("response.created", "response.in_progress", "response.queued")


class ResponsesReading(Reading):
    """Reads a response; its items are texts of one answer."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._response: dict[str, Any] = {}
        self._items: dict[int, dict[str, Any]] = {}
        self._number = 0
        self._stopped = False

    @property
    def over(self) -> bool:
        return self._stopped

    async def whole(self, value: dict[str, Any]) -> dict[str, Any]:
        made = self._anew(value)
        for number, given in enumerate(items.output_of(value)):
            item = items.item_anew(given)
            ending = await self._item(item, number)
            if ending is None:
                made["output"].append(item)
                continue
            text = ending.behind(self._said())
            if item["type"] == "message":
                items.append(item, text)
                made["output"].append({**item, "status": _status(ending)})
            elif text:
                made["output"].append(items.message(text, _status(ending)))
            made |= self._verdict(ending)
            made["usage"] = self.usage(value.get("usage"), cut=self._texts() + ending.text)
            return made
        await self.of(0).shadow()
        made["usage"] = self.usage(value.get("usage"))
        return made

    async def _item(self, item: dict[str, Any], number: int) -> Ending | None:
        """Reads an item that is complete, and cuts its texts where something is hit."""
        answer, ending = self.of(0), None
        if "name" in item and item["type"] != "message":
            ending = (await answer.whole(f"name {number}", item["name"])).ending
        for name, holder, field in items.texts_of(item, number):
            if ending is not None:
                holder[field] = ""
                continue
            if holder[field] and answer.left.get(name) != holder[field]:
                piece = await answer.whole(name, holder[field])
                holder[field], ending = piece.text, piece.ending
            self._hide(holder)
        return ending

    async def event(self, event: Event) -> list[Event]:
        value = event.data
        kind = value.get("type") if isinstance(value, dict) else None
        if self._stopped or value == "[DONE]":
            return []
        if not isinstance(kind, str):
            raise OutputError("the upstream server sends an event that is not known")
        base, _, step = kind.rpartition(".")
        if kind in _BEGINS:
            self._response = self._anew(value.get("response"))
            told = [items.event(kind, response=self._response)]
        elif kind in _ENDS:
            told = await self._end(kind, value)
        elif base in _DELTAS:
            told = await self._text(base, step, value)
        elif base in _PARTS or base == "response.output_item":
            told = await self._holder(base, step, value)
        else:
            raise OutputError("the upstream server sends an event that is not known")
        return self._numbered(told)

    async def end(self) -> list[Event]:
        if not self._stopped:
            raise OutputError("the upstream server broke off")
        return []

    async def _text(self, base: str, step: str, value: dict[str, Any]) -> list[Event]:
        what, index, field = _DELTAS[base]
        number, place = _index(value, "output_index"), 0
        at: dict[str, Any] = {"item_id": value.get("item_id"), "output_index": number}
        if index is not None:
            at[index] = place = _index(value, index)
        name = f"{what} {number} {place}"
        text = value.get("delta" if step == "delta" else field)
        if step not in ("delta", "done") or not isinstance(text, str):
            raise OutputError("the upstream server sends an event that is not known")
        answer = self.of(0)
        piece = await (answer.read(name, text) if step == "delta" else answer.rest(name))
        if step == "done" and piece.ending is None and answer.left[name] != text:
            raise OutputError("the upstream server tells an answer in two ways")
        told = []
        if piece.text or (step == "delta" and not text):
            more = {"logprobs": self._shown(value, piece.text)} if what == "text" else {}
            told.append(items.event(f"{base}.delta", **at, delta=piece.text, **more))
        if piece.ending is not None:
            return told + self._ended(piece.ending, what, number, place)
        if step == "done":
            end: dict[str, Any] = {"logprobs": []} if what == "text" else {}
            if "name" in value:
                end["name"] = self._items.get(number, {}).get("name")
            told.append(items.event(f"{base}.done", **at, **{field: text}, **end))
        return told

    async def _holder(self, base: str, step: str, value: dict[str, Any]) -> list[Event]:
        number = _index(value, "output_index")
        if base == "response.output_item":
            item = items.item_anew(value.get("item"))
            fields: dict[str, Any] = {"item": item}
        else:
            index = "summary_index" if "summary" in base else "content_index"
            part, place = items.part_anew(value.get("part")), _index(value, index)
            fields = {"item_id": value.get("item_id"), index: place, "part": part}
            item = items.holding(part, place)
        if step == "added":
            if any(holder[field] for _, holder, field in items.texts_of(item, number)):
                raise OutputError("the upstream server begins with a text")
        elif step != "done":
            raise OutputError("the upstream server sends an event that is not known")
        if base == "response.output_item":
            self._items[number] = item
        ending = await self._item(item, number) if step == "done" or "name" in item else None
        if ending is not None:
            return self._ended(ending, "", number, 0)
        return [items.event(f"{base}.{step}", output_index=number, **fields)]

    async def _end(self, kind: str, value: dict[str, Any]) -> list[Event]:
        made = self._anew(value.get("response"))
        for number, given in enumerate(items.output_of(value["response"])):
            item = items.item_anew(given)
            ending = await self._item(item, number)
            if ending is not None:
                return self._ended(ending, "", number, 0)
            made["output"].append(item)
        await self.of(0).shadow()
        made["usage"] = self.usage(value["response"].get("usage"))
        self._stopped = True
        return [items.event(kind, response=made)]

    def _ended(self, ending: Ending, what: str, number: int, place: int) -> list[Event]:
        """What follows a hit: the open item is closed, and the response ends."""
        self._stopped = True
        told: list[Event] = []
        text = ending.behind(self._said())
        item = self._items.get(number)
        if what == "text" and item is not None:
            left = self.of(0).left
            parts = [left.get(f"text {number} {n}", "") for n in range(place + 1)]
            done = {**items.message("", _status(ending)), "id": item.get("id")}
            done["content"] = [{**done["content"][0], "text": said} for said in parts]
            if text:
                at = {"item_id": item.get("id"), "output_index": number, "content_index": place}
                delta = items.event("response.output_text.delta", **at, delta=text, logprobs=[])
                told.append(delta)
                done["content"][place]["text"] += text
            self._items[number] = done
            told += items.text_done(done, number, place)
        elif item is not None:
            for name, holder, field in items.texts_of(item, number):
                holder[field] = self.of(0).left.get(name, "")
            item["status"] = "incomplete"
            told.append(items.event("response.output_item.done", output_index=number, item=item))
        if text and what != "text":
            said = items.message(text, _status(ending))
            at_end = max(self._items, default=-1) + 1
            self._items[at_end] = said
            told += items.message_events(said, at_end)
        made = {**self._response, **self._verdict(ending)}
        made["output"] = [self._items[n] for n in sorted(self._items)]
        prompt = self.told.counter.count(str(self.told.body.get("input")))
        made["usage"] = items.usage(prompt, self.told.counter.count(self._texts() + ending.text))
        kind = "response.completed" if ending.reason == "stop" else "response.incomplete"
        return [*told, items.event(kind, response=made)]

    def _verdict(self, ending: Ending) -> dict[str, Any]:
        if ending.reason == "stop":
            return {"status": "completed", "incomplete_details": None}
        return {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}

    def _anew(self, value: Any) -> dict[str, Any]:
        return items.response_anew(value, self.told.model, self.told.body.get("instructions"))

    def _numbered(self, told: list[Event]) -> list[Event]:
        found = []
        for event in told:
            found.append(Event({**event.data, "sequence_number": self._number}, event.name))
            self._number += 1
        return found

    def _shown(self, value: dict[str, Any], text: str) -> list[Any]:
        if not self.told.logprobs:
            return []
        if self.told.hide_logprobs:
            found: list[Any] = chat_placeholders(text)["content"]
            return found
        return value.get("logprobs") or []

    def _hide(self, part: dict[str, Any]) -> None:
        if isinstance(part.get("logprobs"), list):
            part["logprobs"] = self._shown(part, part.get("text", ""))

    def _said(self) -> str:
        left = self.of(0).left.items()
        return "".join(text for name, text in left if name.startswith("text "))

    def _texts(self) -> str:
        return "".join(self.of(0).left.values())


def _status(ending: Ending) -> str:
    return "completed" if ending.reason == "stop" else "incomplete"


def _index(value: dict[str, Any], name: str) -> int:
    number = value.get(name)
    if not isinstance(number, int) or not 0 <= number < 4096:
        raise OutputError("an event's index is no number")
    return number
