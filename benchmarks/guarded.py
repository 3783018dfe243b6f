"""The guard as a system of the detection benchmark: through its public interface alone."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchmarks.question import Prompt, text_of
from benchmarks.split import Target
from benchmarks.systems import NEXT, Fitted, Judge, System, Verdict, margin
from guard.compile import compile_policy
from guard.guard import Guard
from guard.view import View


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
class Staged(Fitted):
    """A bundle of one target, whose verdicts name every stage that a text went through."""

    bundle: Path

    def load(self) -> Judge:
        guard = Guard.load(self.bundle)
        # Decisions do not tell who was asked in vain: this is the one look behind the interface.
        detection = guard._detection
        kinds = [detector.kind for detector in detection.detectors]
        targets = frozenset(target.id for target in guard.bundle.manifest.targets)

        def judge(prompt: Prompt) -> Verdict:
            view = View.of_text(text_of(prompt)).read()
            found = list(detection.stages(view, targets))
            scores = [pair for stage in found for pair in stage.items()]
            flagged = any(score.flags for _, score in scores)
            return Verdict(flagged, margin(scores)[0], NEXT.join(kinds[: len(found)]))

        return judge


def staged(fitted: Fitted) -> Fitted:
    """The same guard, so that its verdicts name the stages; what is no guard stays as it is."""
    return Staged(fitted.bundle) if isinstance(fitted, Compiled) else fitted


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
