"""Made-up loads, and a made-up guard."""

from types import SimpleNamespace
from typing import Any

from benchmarks.load import Load
from benchmarks.prompts import FORGET, texts


class Marking:
    """Decides by where a text comes from."""

    def decide(self, text: str) -> Any:
        about = any(forget[:20] in text for forget in texts(FORGET))
        return SimpleNamespace(action="corrupt" if about else "allow")


def load_of(first: float, between: float, answers: int = 3) -> Load:
    """What answers that take so many seconds to begin, and between tokens, amount to."""
    figures = {"throughput": 1 / first, "ttft": 1000 * first, "itl": 1000 * between}
    return Load(figures, answers)
