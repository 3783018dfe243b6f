"""How long a decision takes on one core, every system in turn on the same prompts."""

import multiprocessing
import os
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from benchmarks.question import Prompt
from benchmarks.result import Row
from benchmarks.roc import LEVEL
from benchmarks.split import Target
from benchmarks.systems import Fitted, Judge
from benchmarks.workers import one_thread

WORDS = (8, 32, 128, 512, 2048)
AS_THEY_COME = "benign prompts as they come"
_PER_TARGET = 4  # rows
_LOADED: dict[Fitted, Judge] = {}

Times = Mapping[str, Sequence[float]]


class OneCore:
    """A process that is kept to one core and one thread."""

    def __init__(self) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(1, mp_context=spawn, initializer=_pin)

    def times(self, systems: Mapping[str, Fitted], prompts: Sequence[Prompt]) -> Times:
        """Times each system on each prompt: the systems take turns, prompt by prompt.

        Returns:
            System to milliseconds, one a prompt.
        """
        return self._pool.submit(_times, dict(systems), list(prompts)).result()

    def close(self) -> None:
        """Ends the process."""
        self._pool.shutdown()


def rows(split: str, times: Times, guard: str = "guard", seed: int = 0) -> list[Row]:
    """Median and 99 % quantile of each system, and how many times slower than the guard each is."""
    made = []
    for system, taken in times.items():
        figures = {
            "decide_ms": float(np.median(taken)),
            "decide_ms_p99": float(np.quantile(taken, 0.99)),
        }
        made += [
            Row(system=system, split=split, metric=name, value=round(value, 4), n=len(taken))
            for name, value in figures.items()
        ]
        if system != guard and guard in times:
            value, low, high = _ratio(taken, times[guard], seed)
            made.append(
                Row(system=f"{system}/{guard}", split=split, metric="time_ratio",
                    value=value, low=low, high=high, n=len(taken))
            )  # fmt: skip
    return made


class Supply:
    """Benign prompts of a given length, made of texts that are each used once.

    The guard remembers what it has judged; a text that came twice would cost it next to nothing.
    """

    def __init__(self, texts: Sequence[str], seed: int) -> None:
        self._texts: Iterator[str] = iter(random.Random(seed).sample(texts, len(texts)))

    def prompts(self, words: int, count: int) -> list[str]:
        """Makes prompts; fewer than asked for where the texts run out.

        Args:
            words: How long each is.
            count: How many.
        """
        made: list[str] = []
        collected: list[str] = []
        while len(made) < count:
            text = next(self._texts, None)
            if text is None:
                break
            collected += text.split()
            if len(collected) >= words:
                made.append(" ".join(collected[:words]))
                collected = []
        return made


def next_turns(prompts: Sequence[str]) -> list[Prompt]:
    """Each prompt as the first turn of a chat that has gone on to a short second one."""
    return [
        (
            {"role": "user", "content": prompt},
            {"role": "assistant", "content": f"Noted ({number})."},
            {"role": "user", "content": f"Thanks. Then go on to point {number}, please."},
        )
        for number, prompt in enumerate(prompts)
    ]


def many_targets(rows: Sequence[Mapping[str, str]], count: int) -> dict[str, Target]:
    """Cuts rows into targets of four each, with four rows further on as neighbours.

    Raises:
        ValueError: There are not rows enough.
    """
    if _PER_TARGET * count > len(rows):
        raise ValueError(f"{len(rows)} rows are not enough for {count} targets")
    starts = range(0, _PER_TARGET * count, _PER_TARGET)
    cut = [tuple(rows[start : start + _PER_TARGET]) for start in starts]
    far = len(rows) // 2  # of another author
    kept = [
        tuple(rows[(start + far + n) % len(rows)] for n in range(_PER_TARGET)) for start in starts
    ]
    return {
        f"target-{number}": Target(forget, retain)
        for number, (forget, retain) in enumerate(zip(cut, kept, strict=True))
    }


def _pin() -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    one_thread()


def _times(systems: dict[str, Fitted], prompts: list[Prompt]) -> dict[str, list[float]]:
    for fitted in systems.values():
        if fitted not in _LOADED:
            _LOADED[fitted] = fitted.load()
            _LOADED[fitted]("What is the first thing that comes to mind?")  # loads the encoder
    taken: dict[str, list[float]] = {name: [] for name in systems}
    for prompt in prompts:
        for name, fitted in systems.items():
            began = time.perf_counter()
            verdict = _LOADED[fitted](prompt)
            elapsed = 1000 * (time.perf_counter() - began)
            taken[name].append(elapsed if verdict.ms is None else verdict.ms)
    return taken


def _ratio(others: Sequence[float], guards: Sequence[float], seed: int) -> tuple[float, ...]:
    """The ratio of the medians, with its percentile interval over the prompts."""
    pairs = np.array([others, guards])
    drawn = np.random.default_rng(seed).integers(len(guards), size=(1000, len(guards)))
    medians = np.median(pairs[:, drawn], axis=2)
    edges = np.quantile(medians[0] / medians[1], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    middle = np.median(pairs, axis=1)
    return tuple(round(float(v), 4) for v in (middle[0] / middle[1], *edges))
