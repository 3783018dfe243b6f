"""However an answer is cut into pieces, the same of it leaves."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from functools import cache

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guard.engine.worker import Worker
from guard.guard import Guard
from guard.proxy.answer import Answer
from guard.proxy.checks import Checks
from guard.proxy.judging import Verdict
from guard.proxy.sse import Event, events
from guard.recorder import Recorder
from guard.view import View
from tests.proxy.test_matrix import EVERYDAY

TEXTS = (
    "She won the Halvorsen Medal in 1998, and more besides.",
    "Call the cat Tom, or Halvor, or call it nothing at all. It was in 1998.",
    "Her teacher was Ketil Rasmund, a glazier.",
)
cuts = st.lists(st.integers(1, 70), max_size=12)


def pieces(text: str, at: list[int]) -> list[str]:
    ends = sorted({0, len(text), *(one for one in at if one < len(text))})
    return [text[low:high] for low, high in itertools.pairwise(ends)]


@cache
def worker() -> Worker:
    return Worker(10.0)


def answered(guard: Guard, text: str, at: list[int]) -> tuple[str, bool]:
    view, verdict = View.of_text(EVERYDAY), Verdict(None)
    checks = Checks(guard, worker(), Recorder(), "r", view, verdict, lambda *_: None)

    async def read() -> tuple[str, bool]:
        answer, left = Answer(checks, 0), ""
        for piece in pieces(text, at):
            left += (await answer.read("content", piece)).text
        left += (await answer.rest("content")).text
        return left, answer.ended is not None

    return asyncio.run(read())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(TEXTS), cuts)
def test_the_same_leaves_however_it_comes(reading_guard: Guard, text: str, at: list[int]) -> None:
    left, ended = answered(reading_guard, text, at)
    assert (left, ended) == answered(reading_guard, text, [])
    assert "Halvorsen" not in left and "Ketil" not in left
    assert ended == (text != TEXTS[1]) and (ended or left == text)


values = st.dictionaries(st.text(), st.text() | st.integers(), max_size=3)


@given(st.lists(st.tuples(values, st.none() | st.just("a.b")), max_size=4), st.data())
def test_events_are_read_however_they_come(
    told: list[tuple[dict, str | None]], data: st.DataObject
) -> None:  # type: ignore[type-arg]
    wanted = [Event(value, name) for value, name in told]
    wire = b": note\r\n\r\n" + b"".join(event.encode() for event in wanted)
    at = data.draw(st.lists(st.integers(0, len(wire)), max_size=6))

    async def read() -> list[Event]:
        async def sent() -> AsyncIterator[bytes]:
            ends = sorted({0, len(wire), *at})
            for low, high in itertools.pairwise(ends):
                yield wire[low:high]

        return [event async for event in events(sent())]

    assert asyncio.run(read()) == [Event(json.loads(json.dumps(e.data)), e.name) for e in wanted]
