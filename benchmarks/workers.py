"""Fits and judgements spread over the cores, a thread each, one decision after another.

No decision depends on another, so it does not matter who makes it; times taken here would mean
nothing, and are not.
"""

import multiprocessing
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from types import TracebackType

from benchmarks.question import Prompt
from benchmarks.split import Target
from benchmarks.systems import Fitted, Judge, System, Verdict

_CHUNK = 32  # prompts a task
_LOADED: dict[Fitted, Judge] = {}  # of this process: the systems at hand, by what they load


class Workers:
    """A pool of processes.

    Args:
        count: How many; as many as there are cores by default.
    """

    def __init__(self, count: int | None = None) -> None:
        spawn = multiprocessing.get_context("spawn")  # threads of a parent do not survive a fork
        self._pool = ProcessPoolExecutor(
            count or len(os.sched_getaffinity(0)), mp_context=spawn, initializer=one_thread
        )

    def __enter__(self) -> "Workers":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def fit(self, system: System, targets: Mapping[str, Target], folder: Path) -> "Future[Fitted]":
        """Starts fitting a system to a fold."""
        return self._pool.submit(system.fit, targets, folder)

    def judge(
        self,
        fitted: Fitted,
        prompts: Sequence[Prompt],
        done: Callable[[int], None] = lambda count: None,
    ) -> list[Verdict]:
        """Judges prompts, and returns what is said of each, in their order.

        Args:
            fitted: What judges.
            prompts: What it judges.
            done: Is told how many more prompts are judged.
        """
        chunks = (prompts[start : start + _CHUNK] for start in range(0, len(prompts), _CHUNK))
        futures = [self._pool.submit(_judge, fitted, chunk) for chunk in chunks]
        verdicts: list[Verdict] = []
        for future in futures:
            verdicts += (found := future.result())
            done(len(found))
        return verdicts


def one_thread() -> None:
    """Keeps a process to one thread, so that as many processes as cores do not fight for them."""
    # Read when torch and the tokenizers are imported, which nothing here has done yet.
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


def _judge(fitted: Fitted, prompts: Sequence[Prompt]) -> list[Verdict]:
    if fitted not in _LOADED:
        _LOADED.clear()  # one at a time: a bundle of many targets is large
        _LOADED[fitted] = fitted.load()
    return [_LOADED[fitted](prompt) for prompt in prompts]
