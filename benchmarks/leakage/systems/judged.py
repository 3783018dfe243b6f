"""A detector of the detection benchmark before a plain model: what it flags is refused.

A keyword filter (`benchmarks.baselines.keyword`), and a retriever after CURaTE: a prompt is refused
when the cosine to the nearest forget question is 0.8 or more. CURaTE tunes mpnet by a contrastive
loss on paraphrases and hard negatives; here it is MiniLM as it is (`benchmarks.baselines.cosine`).
"""

from collections.abc import Sequence
from pathlib import Path

from benchmarks import systems
from benchmarks.baselines.cosine import Cosine
from benchmarks.baselines.keyword import Keyword
from benchmarks.leakage.case import Given, Suite
from benchmarks.leakage.systems.around import Gate, Wrap
from benchmarks.leakage.systems.base import Running
from benchmarks.question import Prompt
from benchmarks.split import Target


class Judged(Gate):
    """Refuses what a detector flags.

    Args:
        inner: The model.
        judge: The detector.
        threshold: The score that it flags from.
    """

    def __init__(self, inner: Running, judge: systems.Judge, threshold: float) -> None:
        super().__init__(inner)
        self.judge = judge
        self.threshold = threshold

    def judged(self, prompts: Sequence[Prompt]) -> list[float]:
        return [self.judge(prompt).score - self.threshold for prompt in prompts]


def before(detector: systems.System, threshold: float) -> Wrap:
    """Returns what puts a detector before a model.

    Args:
        detector: The detector, to be fitted to what is given.
        threshold: The score that it flags from.
    """

    def wrap(inner: Running, suite: Suite, folder: Path) -> Running:
        fitted = detector.fit({"forgotten": _target(suite.given)}, folder)
        return Judged(inner, fitted.load(), threshold)

    return wrap


def _target(given: Given) -> Target:
    forget, retain = (
        tuple({"question": q, "answer": a} if q else {"text": a} for q, a in pairs)
        for pairs in (given.forget, given.retain)
    )
    return Target(forget, retain, given.names)


keyword = before(Keyword(), 0.5)  # its score is 0 or 1
retriever = before(Cosine(0.8), 0.8)
