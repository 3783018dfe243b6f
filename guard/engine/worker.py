"""Judging off the caller's thread, within a time limit, whatever a detector does.

A thread that hangs cannot be ended in Python. It is given up and replaced, so that other
requests go on being judged; when too many hang, judging ends and every request is refused.
"""

import asyncio
import concurrent.futures
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from guard.errors import DetectionError, OverloadError

T = TypeVar("T")

_Job = tuple["concurrent.futures.Future[Any]", Callable[[], Any]]


class Worker:
    """A few daemon threads that run judgements.

    Args:
        timeout: Seconds that a judgement may take, waiting included, where none are given with it.
        threads: How many run at once.
        most_stuck: How many threads may hang before judging ends.
        most_waiting: How many jobs may wait; one more is refused at once.
    """

    def __init__(
        self, timeout: float, threads: int = 2, most_stuck: int = 8, most_waiting: int = 4096
    ) -> None:
        self.timeout = timeout
        self.most_waiting = most_waiting
        self.most_stuck = most_stuck
        self.stuck = 0
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        for _ in range(threads):
            self._start()

    @property
    def ended(self) -> bool:
        """Whether so many threads hang that nothing is judged any more."""
        return self.stuck >= self.most_stuck

    def call(self, job: Callable[[], T], timeout: float | None = None) -> T:
        """Runs a job and waits for it.

        Args:
            job: The job.
            timeout: Seconds that it may take.

        Raises:
            DetectionError: It took too long, or judging has ended.
        """
        seconds = self.timeout if timeout is None else timeout
        future = self._submit(job)
        try:
            return future.result(seconds)
        except concurrent.futures.TimeoutError:
            raise self._give_up(future, seconds) from None

    async def acall(self, job: Callable[[], T], timeout: float | None = None) -> T:
        """Runs a job and awaits it, the event loop going on.

        Args:
            job: The job.
            timeout: Seconds that it may take.

        Raises:
            DetectionError: It took too long, or judging has ended.
        """
        seconds = self.timeout if timeout is None else timeout
        future = self._submit(job)
        waiter = asyncio.wrap_future(future)
        try:
            done, _ = await asyncio.wait({waiter}, timeout=seconds)
        except asyncio.CancelledError:  # the client went away: others need not wait behind it
            future.cancel()
            raise
        if not done:
            waiter.add_done_callback(_ignore)
            raise self._give_up(future, seconds)
        return waiter.result()

    def _submit(self, job: Callable[[], T]) -> "concurrent.futures.Future[T]":
        if self.ended:
            raise OverloadError(f"judging has ended: {self.stuck} detector threads hang")
        if self._jobs.qsize() >= self.most_waiting:
            raise OverloadError(f"{self.most_waiting} requests wait to be judged already")
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._jobs.put((future, job))
        return future

    def _give_up(self, future: "concurrent.futures.Future[Any]", seconds: float) -> DetectionError:
        if not future.cancel():  # it runs: its thread hangs, and is replaced
            with self._lock:
                self.stuck += 1
                if self.stuck < self.most_stuck:
                    self._start()
            future.add_done_callback(self._came_back)
        return DetectionError(f"judging took longer than {seconds:g} s")

    def _came_back(self, _: "concurrent.futures.Future[Any]") -> None:
        with self._lock:
            if self.stuck < self.most_stuck:
                self._jobs.put(None)  # it was replaced: one thread is now too many
            self.stuck -= 1

    def _start(self) -> None:
        threading.Thread(target=self._run, name="guard-judge", daemon=True).start()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, work = job
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = work()
            except BaseException as error:  # SystemExit too: the thread must live on
                future.set_exception(_as_exception(error))
            else:
                future.set_result(result)


# A job's own time-out or cancellation must not be taken for the worker's, nor can a future carry
# the end of an iteration.
_TELLING = (TimeoutError, concurrent.futures.CancelledError, StopIteration, StopAsyncIteration)


def _as_exception(error: BaseException) -> Exception:
    if isinstance(error, Exception) and not isinstance(error, _TELLING):
        return error
    return DetectionError(f"judging was ended by {type(error).__name__}")


def _ignore(future: "asyncio.Future[Any]") -> None:
    if not future.cancelled():
        future.exception()
