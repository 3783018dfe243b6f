"""MiniLM at a fixed cosine: retrieval as in CURaTE, which refuses above 0.8, with no training."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.question import Prompt, text_of
from benchmarks.split import Target
from benchmarks.systems import Fitted, Judge, System, Verdict
from guard.encoder import Encoder
from guard.models import resolve

ENCODER = "builtin:minilm"


@dataclass(frozen=True)
class Nearest(Fitted):
    """What a question must not be near to, and how near that is."""

    rows: tuple[str, ...]
    threshold: float

    def load(self) -> Judge:
        encode = Encoder(resolve(ENCODER))
        vectors = encode(self.rows)

        def judge(prompt: Prompt) -> Verdict:
            cosine = float((vectors @ encode([text_of(prompt)])[0]).max())
            return Verdict(cosine >= self.threshold, cosine, "cosine")

        return judge


@dataclass(frozen=True)
class Cosine(System):
    """Flags what is nearer to a forget question than a cosine that is the same for everything."""

    threshold: float = 0.8
    name: str = "MiniLM, cosine 0.8"

    def fit(self, targets: Mapping[str, Target], folder: Path) -> Nearest:
        return Nearest(forget_questions(targets), self.threshold)


def forget_questions(targets: Mapping[str, Target]) -> tuple[str, ...]:
    """The questions, or else the texts, of every forget row."""
    rows = (row for target in targets.values() for row in target.forget)
    return tuple(row.get("question") or row["text"] for row in rows)
