"""Prompts until their answers come: a gateway asks about each by itself.

Kept in this process's memory only, for minutes, and never written.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from guard.guardrail.edition import Edition

MOST_CHARS = 32 << 20  # of all prompts together
LONGEST = 900.0  # seconds from a request to its answer


@dataclass(frozen=True)
class Prompt:
    """What an answer is an answer to.

    Attributes:
        question: What the user said last.
        text: All that the model reads.
        doubted: Targets that the prompt is suspected of.
        edition: What judged it.
    """

    question: str
    text: str
    doubted: frozenset[str]
    edition: Edition


class Memory:
    """Prompts by the id of their call.

    Args:
        most: How many characters they may have together; the oldest are forgotten first.
        longest: Seconds for which one is kept.
        clock: Tells the time, in seconds.
    """

    def __init__(
        self,
        most: int = MOST_CHARS,
        longest: float = LONGEST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most, self._longest, self._clock = most, longest, clock
        self._held: OrderedDict[str, tuple[float, Prompt | None]] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()  # calls are answered in several threads

    def keep(self, call: str | None, prompt: Prompt) -> None:
        """Keeps a prompt.

        A client may choose the id of its calls. Where one stands for two prompts, which of them an
        answer belongs to cannot be known, and neither is used.
        """
        if not call:
            return
        with self._lock:
            self._expire()
            held = self._held.get(call, (0.0, prompt))[1]
            self._drop(call)
            kept = prompt if held == prompt else None
            self._held[call] = self._clock(), kept
            self._size += _size(call, kept)
            while self._size > self._most:
                self._drop(next(iter(self._held)))

    def find(self, call: str | None) -> Prompt | None:
        """The prompt of a call; None where it is not known."""
        with self._lock:
            self._expire()
            return self._held.get(call or "", (0.0, None))[1]

    def _expire(self) -> None:
        oldest = self._clock() - self._longest
        while self._held and next(iter(self._held.values()))[0] < oldest:
            self._drop(next(iter(self._held)))

    def _drop(self, call: str) -> None:
        if call in self._held:
            self._size -= _size(call, self._held.pop(call)[1])


def _size(call: str, prompt: Prompt | None) -> int:
    return 64 + len(call) + (len(prompt.question) + len(prompt.text) if prompt else 0)
