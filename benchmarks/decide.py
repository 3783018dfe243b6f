"""How long one decision takes, without any server."""

import statistics
import time
from collections.abc import Sequence

import numpy as np

from benchmarks.prompts import BACKGROUND, texts
from benchmarks.result import Row
from guard.bundle import Bundle
from guard.errors import GuardError
from guard.guard import Guard

NAMES = "all targets named"
UNSEEN = "unseen text"
REMEMBERED = "remembered text"


def decide_rows(bundle: Bundle, count: int | None = None) -> list[Row]:
    """Times `Guard.decide` on everyday prompts, one at a time.

    Three kinds: a prompt that names every target, which the names alone settle; a text that the
    guard has not seen, which it encodes where a glance does not settle it; and the same text again,
    which it remembers.

    Args:
        bundle: What decides.
        count: How many prompts of a kind; all by default.

    Returns:
        For each kind, the median and the 99 % quantile in milliseconds.

    Raises:
        GuardError: A prompt was not decided in the way that is to be timed.
    """
    everyday = texts(BACKGROUND)[:count]
    naming = [f"{text} Ask William Shakespeare and Isaac Newton." for text in everyday]
    guard = Guard.load(bundle.path)
    guard.decide("What is the first thing that comes to mind?")  # loads the encoder
    for text in naming:
        decision = guard.decide(text)
        if {score.detector for _, score in decision.scores} != {"lexical"}:
            raise GuardError("a prompt that names every target was not settled by the names")
    rows = []
    for kind, prompts in ((NAMES, naming), (UNSEEN, everyday), (REMEMBERED, everyday)):
        rows += _rows(kind, _milliseconds(guard, prompts))
    return rows


def _milliseconds(guard: Guard, prompts: Sequence[str]) -> list[float]:
    taken = []
    for prompt in prompts:
        began = time.perf_counter()
        guard.decide(prompt)
        taken.append(1000 * (time.perf_counter() - began))
    return taken


def _rows(kind: str, taken: Sequence[float]) -> list[Row]:
    figures = {
        "decide_ms": statistics.median(taken),
        "decide_ms_p99": float(np.quantile(taken, 0.99)),
    }
    return [
        Row(system="guard.decide", split=kind, metric=name, value=round(value, 4), n=len(taken))
        for name, value in figures.items()
    ]
