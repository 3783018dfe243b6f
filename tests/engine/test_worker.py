"""Judging within its time, whatever a job does; others are served meanwhile."""

import asyncio
import concurrent.futures
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from guard.engine.worker import Worker
from guard.errors import DetectionError

SHORT = 0.2
Ask = Callable[[Worker, Callable[[], Any]], Any]


def sync(worker: Worker, job: Callable[[], Any]) -> Any:
    return worker.call(job)


def asynchronous(worker: Worker, job: Callable[[], Any]) -> Any:
    return asyncio.run(worker.acall(job))


both = pytest.mark.parametrize("ask", [sync, asynchronous])


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Ends every job that hangs."""
    event = threading.Event()
    yield event
    event.set()


def until(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


@both
def test_a_result_comes_back(ask: Ask) -> None:
    assert ask(Worker(10), lambda: 6 * 7) == 42
    assert ask(Worker(10), lambda: None) is None


@both
@pytest.mark.parametrize(
    "error", [ValueError("text"), KeyError("x"), OSError(5, "io"), DetectionError("no")]
)
def test_an_error_comes_back(ask: Ask, error: Exception) -> None:
    def job() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        ask(Worker(10), job)
    assert raised.value is error


@both
@pytest.mark.parametrize(
    "error",
    [
        SystemExit(3),
        KeyboardInterrupt(),
        GeneratorExit(),
        asyncio.CancelledError(),
        concurrent.futures.CancelledError(),
        StopIteration(),
        TimeoutError("the encoder's own"),
        RecursionError(),
        MemoryError(),
    ],
)
def test_nothing_ends_the_thread(ask: Ask, error: BaseException) -> None:
    """Whatever a job raises is at once an `Exception` for its caller; the next one is served."""
    worker = Worker(2, threads=1)

    def job() -> None:
        raise error

    try:
        ask(worker, job)
    except BaseException as raised:
        found = raised
    assert isinstance(found, Exception)  # a frontend takes it for a failed judgement
    assert "took longer" not in str(found)  # it did not
    assert ask(worker, lambda: "next") == "next"
    assert worker.stuck == 0


@both
def test_a_job_that_hangs_is_given_up_in_time(ask: Ask, release: threading.Event) -> None:
    started = time.monotonic()
    with pytest.raises(DetectionError, match=r"took longer than 0\.2 s"):
        ask(Worker(SHORT), release.wait)
    assert SHORT <= time.monotonic() - started < 5


@both
def test_others_are_served_while_one_hangs(ask: Ask, release: threading.Event) -> None:
    worker = Worker(SHORT, threads=1)
    for number in range(4):
        with pytest.raises(DetectionError):
            ask(worker, release.wait)
        worker.timeout = 10
        assert ask(worker, lambda number=number: number) == number
        worker.timeout = SHORT
    assert worker.stuck == 4


@both
def test_when_too_many_hang_everything_is_refused(ask: Ask, release: threading.Event) -> None:
    worker = Worker(SHORT, threads=1, most_stuck=3)
    for _ in range(3):
        with pytest.raises(DetectionError, match="took longer"):
            ask(worker, release.wait)
    started = time.monotonic()
    with pytest.raises(DetectionError, match="judging has ended: 3 detector threads hang"):
        ask(worker, lambda: "never")
    assert time.monotonic() - started < SHORT  # at once, not after the timeout


@both
def test_threads_that_come_back_are_used_again(ask: Ask) -> None:
    release = threading.Event()
    worker = Worker(SHORT, threads=2, most_stuck=3)
    for _ in range(3):
        with pytest.raises(DetectionError):
            ask(worker, release.wait)
    release.set()
    assert until(lambda: worker.stuck == 0)
    worker.timeout = 10
    assert [ask(worker, lambda n=n: n) for n in range(20)] == list(range(20))


def test_the_number_of_threads_stays_what_it_was() -> None:
    before = judges()
    worker = Worker(SHORT, threads=2)
    for _ in range(3):
        release = threading.Event()
        with pytest.raises(DetectionError):
            worker.call(release.wait)
        release.set()
        assert until(lambda: worker.stuck == 0)
    assert until(lambda: judges() - before == 2), judges() - before
    # And both of them work.
    meet = threading.Barrier(2, timeout=10)
    worker.timeout = 10
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        assert len(list(pool.map(lambda _: worker.call(meet.wait), range(2)))) == 2


def judges() -> int:
    return sum(thread.name == "guard-judge" for thread in threading.enumerate())


def test_a_job_that_never_started_is_not_run_later(release: threading.Event) -> None:
    """Its caller was refused: nobody reads what it would find."""
    worker = Worker(SHORT, threads=1)
    ran = threading.Event()
    blocked = threading.Thread(
        target=lambda: contextlib.suppress(DetectionError) and worker._submit(release.wait)
    )
    blocked.start()
    blocked.join()
    with pytest.raises(DetectionError):
        worker.call(ran.set)
    release.set()
    worker.timeout = 10
    worker.call(lambda: None)
    assert not ran.is_set()
    assert worker.stuck == 0  # it waited, it did not hang


def test_a_full_queue_refuses_at_once(release: threading.Event) -> None:
    worker = Worker(10, threads=1, most_waiting=3)
    running = threading.Event()

    def hang() -> None:
        running.set()
        release.wait()

    worker._submit(hang)
    assert running.wait(10)
    waiting = [worker._submit(lambda: None) for _ in range(3)]
    started = time.monotonic()
    with pytest.raises(DetectionError, match="3 requests wait"):
        worker.call(lambda: None)
    assert time.monotonic() - started < 5
    release.set()
    assert all(future.result(10) is None for future in waiting)
    assert worker.call(lambda: 1) == 1


async def test_the_event_loop_goes_on(release: threading.Event) -> None:
    worker = Worker(1.0, threads=2)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.01)

    ticking = asyncio.create_task(tick())
    with pytest.raises(DetectionError):
        await worker.acall(release.wait)
    ticking.cancel()
    assert ticks > 20


async def test_many_at_once() -> None:
    worker = Worker(30, threads=2)
    results = await asyncio.gather(*(worker.acall(lambda n=n: n * n) for n in range(300)))
    assert results == [n * n for n in range(300)]


async def test_a_caller_that_goes_away_leaves_no_work(release: threading.Event) -> None:
    worker = Worker(10, threads=1)
    ran = threading.Event()
    worker._submit(release.wait)
    waiting = asyncio.create_task(worker.acall(ran.set))
    await asyncio.sleep(0.05)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    release.set()
    assert await worker.acall(lambda: 1) == 1
    assert not ran.is_set()


async def test_a_caller_that_goes_away_while_it_runs_does_not_hang_the_rest() -> None:
    worker = Worker(10, threads=1)
    running, release = threading.Event(), threading.Event()

    def job() -> None:
        running.set()
        release.wait()

    task = asyncio.create_task(worker.acall(job))
    assert await asyncio.to_thread(running.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    release.set()
    assert await worker.acall(lambda: 1) == 1


async def test_what_comes_too_late_is_dropped_quietly(caplog: pytest.LogCaptureFixture) -> None:
    worker = Worker(SHORT)
    release = threading.Event()

    def job() -> None:
        release.wait()
        raise ValueError("nobody asks any more")

    with pytest.raises(DetectionError):
        await worker.acall(job)
    release.set()
    assert await asyncio.to_thread(until, lambda: worker.stuck == 0)
    await asyncio.sleep(0.05)
    assert "never retrieved" not in caplog.text


def test_threads_do_not_keep_the_process(release: threading.Event) -> None:
    worker = Worker(SHORT)
    with pytest.raises(DetectionError):
        worker.call(release.wait)
    assert all(t.daemon for t in threading.enumerate() if t.name == "guard-judge")
