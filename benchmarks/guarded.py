"""The guard as a system of the detection benchmark: through its public interface alone."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchmarks.question import Prompt
from benchmarks.split import Target
from benchmarks.systems import Fitted, Judge, System, Verdict, margin
from guard.compile import compile_policy
from guard.guard import Guard


@dataclass(frozen=True)
class Compiled(Fitted):
    """A bundle."""

    bundle: Path

    def load(self) -> Judge:
        guard = Guard.load(self.bundle)

        def judge(prompt: Prompt) -> Verdict:
            decision = guard.decide(prompt)
            return Verdict(decision.flagged, *margin(decision.scores))

        return judge


@dataclass(frozen=True)
class Guarded(System):
    """The guard with one kind of detector.

    Attributes:
        detect: The kind.
        rate: The false-positive rate that the policy asks for.
    """

    detect: str = "cascade"
    rate: float = 0.001
    name: str = "guard"

    def fit(self, targets: Mapping[str, Target], folder: Path) -> Compiled:
        policy = write_policy(targets, folder, {"kind": self.detect, **self._options})
        return Compiled(compile_policy(policy, folder / "bundle").path)

    @property
    def _options(self) -> dict[str, float]:
        return {"max_false_positive_rate": self.rate}


def write_policy(targets: Mapping[str, Target], folder: Path, detect: Mapping[str, object]) -> Path:
    """Writes ``policy.yaml`` and the files that it names; returns the policy."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for name, target in targets.items():
        entry = {"id": name, "forget": f"{name}.forget.jsonl"}
        _write(folder / f"{name}.forget.jsonl", target.forget)
        if target.retain:
            entry["retain"] = f"{name}.retain.jsonl"
            _write(folder / f"{name}.retain.jsonl", target.retain)
        entries.append({**entry, "detect": dict(detect), "intervene": {"kind": "refuse"}})
    policy = folder / "policy.yaml"
    content = {"version": 1, "model": "builtin:smollm2", "targets": entries}
    policy.write_text(yaml.safe_dump(content), "utf-8")
    return policy


def _write(path: Path, rows: Iterable[Mapping[str, str]]) -> None:
    lines = (json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text("\n".join(lines) + "\n", "utf-8")
