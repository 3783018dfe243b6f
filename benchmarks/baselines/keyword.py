"""A keyword filter (Thaker et al., 2024, 2403.03329, "Guardrail baselines")."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.question import Prompt, text_of
from benchmarks.split import Target
from benchmarks.systems import Fitted, Judge, System, Verdict


@dataclass(frozen=True)
class Keywords(Fitted):
    """Names to be found as whole words, whatever their case."""

    names: tuple[str, ...]

    def load(self) -> Judge:
        names = sorted({*self.names, *(name.split()[-1] for name in self.names)})
        pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, names))})\b", re.IGNORECASE)

        def judge(prompt: Prompt) -> Verdict:
            found = pattern.search(text_of(prompt)) is not None
            return Verdict(found, float(found), "keyword")

        return judge


@dataclass(frozen=True)
class Keyword(System):
    """Flags what holds a full name or a surname of the target's people.

    It is told these names by whoever runs it; the guard has to find them in the forget rows.
    """

    name: str = "keyword filter"

    def fit(self, targets: Mapping[str, Target], folder: Path) -> Keywords:
        return Keywords(tuple(name for target in targets.values() for name in target.names))
