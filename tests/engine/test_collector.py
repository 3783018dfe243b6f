"""What drives the checking of answers: who waits for whom, and what is left when it ends."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from vllm.sampling_params import SamplingParams

from guard.engine.collector import Checked, CheckedCollector
from guard.engine.lane import Ask
from tests.engine.scripted import BAD, DELTA, GOOD, Queue, World, bans, made

PAIR = SamplingParams(output_kind=DELTA, n=2)


class Stuck(Queue):
    """An engine's collector that has nothing before it is told so."""

    def __init__(self, name: str, outputs: Sequence[Any]) -> None:
        super().__init__(name, outputs)
        self.free = asyncio.Event()

    async def get(self) -> Any:
        await self.free.wait()
        return await super().get()


class Driven:
    """A collector of two answers, the second one's source stuck."""

    def __init__(self, world: World) -> None:
        self.queues: list[Queue] = []
        self.aborted: list[str] = []
        self.closed = 0
        self.world = world
        answers = made(world, PAIR, bans("Skarvik"))
        self.collector = CheckedCollector(
            answers, self.send, self.abort, self.work, world.show, self.close
        )

    async def send(self, ask: Ask) -> Any:
        kind = Stuck if self.queues else Queue
        name = f"inner {len(self.queues)}"
        self.queues.append(kind(name, self.world.outputs(name, ask)))
        return self.queues[-1]

    async def abort(self, names: list[str]) -> None:
        self.aborted += names

    async def work(self, job: Callable[[], Any]) -> Any:
        return job()

    def close(self) -> None:
        self.closed += 1


def test_what_was_sent_is_ended_when_the_next_cannot_be(tokenizer: Any) -> None:
    class Half(Driven):
        async def send(self, ask: Ask) -> Any:
            if self.queues:
                raise ValueError("the engine takes no more")
            return await super().send(ask)

    async def run() -> None:
        driven = Half(World(tokenizer, GOOD))
        with pytest.raises(ValueError, match="takes no more"):
            await driven.collector.start()
        assert (driven.aborted, driven.closed) == (["inner 0"], 1)
        assert driven.queues[0].closed

    asyncio.run(run())


def test_no_answer_waits_for_another(tokenizer: Any) -> None:
    async def run() -> None:
        driven = Driven(World(tokenizer, GOOD))
        collector = await driven.collector.start()
        async with asyncio.timeout(60):  # it would wait forever
            first = [await collector.get() for _ in range(3)]
            assert {output.outputs[0].index for output in first} == {0}
            stuck = driven.queues[1]
            assert isinstance(stuck, Stuck)
            stuck.free.set()
            found = list(first)
            while not found[-1].finished:
                found.append(collector.get_nowait() or await collector.get())
        for index in (0, 1):
            said = [c.text for output in found for c in output.outputs if c.index == index]
            assert "".join(said) == GOOD
        assert driven.world.shown == found

    asyncio.run(run())


def test_whoever_goes_leaves_nothing_behind(tokenizer: Any) -> None:
    async def run() -> None:
        driven = Driven(World(tokenizer, GOOD))
        collector = await driven.collector.start()
        await collector.get()
        before = asyncio.all_tasks()
        assert len(before) > 1 and len(collector.request_id) == 2
        collector.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert collector.request_id == [] and all(queue.closed for queue in driven.queues)
        assert driven.closed == 1

    asyncio.run(run())


def test_who_goes_away_takes_all_requests_along(tokenizer: Any) -> None:
    world = World(tokenizer, GOOD)
    params = SamplingParams(output_kind=DELTA, n=2)
    sent: list[str] = []

    def send(name: str, ask: Ask) -> str:
        sent.append(name)
        return f"{name} within"

    for called in ("request", "first", "within"):
        checked = Checked(lambda names: None, lambda job: job())
        identity = checked.start(
            "request", made(world, params, bans("x")), lambda output: output, send
        )
        names = {"request": "request", "first": sent[-2], "within": identity}
        assert checked.forget([names[called]]) == sent[-2:]
        assert checked.forget(sent) == []


def test_outputs_of_other_requests_pass_as_they_are(tokenizer: Any) -> None:
    world = World(tokenizer, BAD)
    (*_, other) = world.outputs("other", made(world, PAIR, bans("x")).lanes[0].ask)
    checked = Checked(lambda names: None, lambda job: job())
    assert checked.take([other, other]) == [other, other]
    assert other.request_id == "other"
