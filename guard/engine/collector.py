"""Drives the checking of answers: for the asynchronous engine, and for the synchronous one.

What takes a while (sentence vectors, an intervention) runs in a worker thread, off the event loop.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from guard.engine.checking import Answers
from guard.engine.lane import Ask, Lane, Result


class Source(Protocol):
    """Where the engine puts the outputs of one of its requests."""

    request_id: str

    def get_nowait(self) -> Any: ...
    async def get(self) -> Any: ...
    def close(self) -> None: ...


class CheckedCollector:
    """What `AsyncLLM.add_request` returns, with checked answers in it.

    Args:
        answers: The answers; nothing is asked of the engine yet (`start`).
        send: Sends a request to the engine.
        abort: Ends requests of the engine, by its own ids.
        work: Runs what takes a while off the event loop.
        shown: What is done with each output before the client gets it.
        closed: Is told of the end, once.
    """

    def __init__(
        self,
        answers: Answers,
        send: Callable[[Ask], Awaitable[Source]],
        abort: Callable[[list[str]], Awaitable[None]],
        work: Callable[[Callable[[], Any]], Awaitable[Any]],
        shown: Callable[[Any], Any],
        closed: Callable[[], None],
    ) -> None:
        self._answers, self._send, self._abort = answers, send, abort
        self._work, self._shown, self._closed = work, shown, closed
        self._sources: dict[int, Source] = {}
        self._waits: dict[asyncio.Task[Any], Lane] = {}
        self._ready: deque[Any] = deque()

    async def start(self) -> "CheckedCollector":
        """Sends what is asked to the engine."""
        try:
            for lane in self._answers.lanes:
                self._sources[lane.index] = await self._send(lane.ask)
        except BaseException:
            await self._abort(self.request_id)
            self.close()
            raise
        return self

    @property
    def request_id(self) -> list[str]:
        """The engine's ids of what it is asked now: what is to be aborted when the client goes."""
        return [source.request_id for source in self._sources.values()]

    def get_nowait(self) -> Any:
        """Takes the next output, if there is one."""
        return self._shown(self._ready.popleft()) if self._ready else None

    async def get(self) -> Any:
        """Waits for the next output."""
        while not self._ready:
            if len(self._answers.lanes) == 1:
                (lane,) = self._answers.lanes
                source = self._sources[lane.index]
                await self._take(lane, source.get_nowait() or await source.get())
            else:
                await self._any()
        return self._shown(self._ready.popleft())

    def close(self) -> None:
        """Ends the collection."""
        for task in self._waits:
            task.cancel()
        self._waits.clear()
        for source in self._sources.values():
            source.close()
        self._sources.clear()
        closed, self._closed = self._closed, lambda: None
        closed()

    async def _any(self) -> None:
        """Waits for whichever answer goes on first."""
        waited = {lane.index for lane in self._waits.values()}
        for lane in self._answers.lanes:
            if lane.index in self._sources and lane.index not in waited:
                task = asyncio.ensure_future(self._sources[lane.index].get())
                self._waits[task] = lane
        done, _ = await asyncio.wait(self._waits, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            await self._take(self._waits.pop(task), task.result())

    async def _take(self, lane: Lane, output: Any) -> None:
        result = await self._checked(lane, output)
        if result.abort:
            await self._abort([self._sources[lane.index].request_id])
        if result.ask is not None or lane.done:
            self._sources.pop(lane.index).close()
        if result.ask is not None:
            self._sources[lane.index] = await self._send(result.ask)
        if result.output is not None:
            self._ready.append(result.output)

    async def _checked(self, lane: Lane, output: Any) -> Result:
        steps = self._answers.take(lane, output)
        try:
            job = next(steps)
            while True:
                job = steps.send(await self._work(job))
        except StopIteration as end:
            result: Result = end.value
            return result
        except Exception as error:
            return self._answers.failed(lane, output, error)


@dataclass(frozen=True)
class _Held:
    """An answer that a synchronous engine is asked for: whose, and how it is asked again."""

    request_id: str
    answers: Answers
    lane: Lane
    shown: Callable[[Any], Any]
    send: Callable[[str, Ask], Any]


class Checked:
    """The checked answers of a synchronous engine.

    Args:
        abort: Ends requests of the engine, by the ids that they were sent under.
        work: Runs what takes a while, within a time limit.
    """

    def __init__(
        self, abort: Callable[[list[str]], None], work: Callable[[Callable[[], Any]], Any]
    ) -> None:
        self._abort, self._work = abort, work
        self._held: dict[str, _Held] = {}
        self._identities: dict[str, Any] = {}  # the engine's own
        self._sent = 0

    def start(
        self,
        request_id: str,
        answers: Answers,
        shown: Callable[[Any], Any],
        send: Callable[[str, Ask], Any],
    ) -> Any:
        """Sends what is asked to the engine.

        Args:
            request_id: The id that the client knows.
            answers: The answers.
            shown: What is done with each output before the client gets it.
            send: Sends a request to the engine under an id; returns the engine's own.

        Returns:
            The engine's id of the first answer.
        """
        held = [_Held(request_id, answers, lane, shown, send) for lane in answers.lanes]
        identities = [self._start(one, one.lane.ask) for one in held]
        return identities[0]

    def forget(self, request_ids: Sequence[str]) -> list[str]:
        """Forgets requests, by any of their ids; returns those that they were sent under."""
        asked = set(request_ids)
        gone = {
            held.request_id
            for name, held in self._held.items()
            if asked & {held.request_id, name, self._identities[name]}
        }
        names = [name for name, held in self._held.items() if held.request_id in gone]
        for name in names:
            self._drop(name)
        return names

    def take(self, outputs: Sequence[Any]) -> list[Any]:
        """Takes the engine's outputs; returns what clients get, those of others as they are."""
        given = []
        for output in outputs:
            name = output.request_id
            held = self._held.get(name)
            if held is None:
                given.append(output)
                continue
            result = self._checked(held, output)
            if result.ask is not None or held.lane.done:
                self._drop(name)
            if result.abort:
                self._abort([name])
            if result.ask is not None:
                self._start(held, result.ask)
            if result.output is not None:
                result.output.request_id = held.request_id
                given.append(held.shown(result.output))
        return given

    def _start(self, held: _Held, ask: Ask) -> Any:
        self._sent += 1
        name = f"guard-{self._sent}-{held.request_id}"
        identity = held.send(name, ask)
        self._held[name], self._identities[name] = held, identity
        return identity

    def _drop(self, name: str) -> None:
        del self._held[name], self._identities[name]

    def _checked(self, held: _Held, output: Any) -> Result:
        steps = held.answers.take(held.lane, output)
        try:
            job = next(steps)
            while True:
                job = steps.send(self._work(job))
        except StopIteration as end:
            result: Result = end.value
            return result
        except Exception as error:
            return held.answers.failed(held.lane, output, error)
