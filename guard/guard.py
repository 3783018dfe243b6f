"""The guard itself: a loaded bundle that decides about texts, without any engine."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from guard.bundle import Bundle, load_bundle
from guard.decision import Decision, Finding, Score
from guard.detectors import DETECTORS
from guard.detectors.base import Detector, Parts
from guard.encoder import Encoder
from guard.errors import BundleError, DetectionError, GuardError
from guard.identity import identify, model_folder
from guard.interventions import INTERVENTIONS
from guard.interventions.base import Intervention
from guard.models import resolve
from guard.view import View


class Guard:
    """Decides which targets a text touches, and what is to be done about it.

    Use `Guard.load`. An instance is immutable and may be used from several threads.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        manifest = bundle.manifest
        live = [target for target in manifest.targets if target.mode != "off"]
        self._modes = {target.id: target.mode for target in live}
        self.encoder = _LazyEncoder(manifest.encoder.name, manifest.encoder.sha256)
        self.interventions: dict[str, Intervention] = {}
        stages: dict[str, dict[str, tuple[Parts, float]]] = {}
        for target in live:
            record = target.intervention
            try:
                kind = INTERVENTIONS.get(record.kind)
                options = kind.Options.model_validate(record.options)
                self.interventions[target.id] = kind(target.id, options, record.state)
                for stage in target.stages:
                    DETECTORS.get(stage.kind)  # named with its target when it is not installed
                    parts = Parts(
                        stage.data, {name: bundle.arrays[f] for name, f in stage.arrays.items()}
                    )
                    stages.setdefault(stage.kind, {})[target.id] = parts, stage.threshold
            except (GuardError, ValueError, KeyError) as error:
                reason = " ".join(str(error).split())  # pydantic takes several lines
                raise BundleError(f"{bundle.path}: target {target.id}: {reason}") from None
        try:
            detectors = [DETECTORS.get(k)(parts, self.encoder) for k, parts in stages.items()]
        except (GuardError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())
            raise BundleError(f"{bundle.path}: {reason}") from None
        self._detectors: list[Detector] = sorted(detectors, key=lambda detector: detector.cost)

    @classmethod
    def load(cls, path: str | Path) -> "Guard":
        """Loads a bundle.

        Raises:
            BundleError: It is missing, damaged, foreign or newer than this version.
        """
        return cls(load_bundle(path))

    @property
    def version(self) -> str:
        """The bundle's version."""
        return self.bundle.version

    @property
    def engine_args(self) -> dict[str, Any]:
        """Engine arguments that the bundle's interventions need."""
        args: dict[str, Any] = {}
        for intervention in self.interventions.values():
            args |= intervention.engine_args
        return args

    def decide(self, prompt: str | Sequence[Mapping[str, Any]] | View) -> Decision:
        """Decides about a text, chat messages, or a view of a rendered prompt.

        Raises:
            DetectionError: A detector failed; the request must not be answered.
        """
        if isinstance(prompt, str):
            view = View.of_text(prompt)
        else:
            view = prompt if isinstance(prompt, View) else View.of_messages(prompt)
        best: dict[str, Score] = {}
        open_targets = frozenset(self._modes)
        for detector in self._detectors:
            mine = open_targets & detector.targets.keys()
            if not mine:
                continue
            try:
                scores = detector.score(view, mine)
            except Exception as error:
                # The type only: a message could quote the prompt.
                raise DetectionError(
                    f"detector {detector.kind!r} failed ({type(error).__name__})"
                ) from error
            for target, score in scores.items():
                held = best.get(target)
                if held is None or _margin(score) > _margin(held):
                    best[target] = score
            open_targets -= {target for target, score in scores.items() if score.flags}
        findings = [
            Finding(target, score, self._modes[target], self.interventions[target].kind)
            for target, score in best.items()
            if score.flags
        ]
        findings.sort(key=self._rank, reverse=True)
        return Decision(tuple(findings), self.version, tuple(sorted(best.items())))

    def _rank(self, finding: Finding) -> tuple[bool, int, float]:
        strictness = self.interventions[finding.target].strictness
        return finding.mode == "enforce", strictness, _margin(finding.score)


def _margin(score: Score) -> float:
    return score.value - score.threshold


class _LazyEncoder:
    """The bundle's encoder, found, checked and loaded when the first text is encoded."""

    def __init__(self, name: str, sha256: str) -> None:
        self._name = name
        self._sha256 = sha256
        self._encoder: Encoder | None = None
        self._lock = threading.Lock()

    def __call__(self, texts: Sequence[str]) -> Any:
        with self._lock:
            if self._encoder is None:
                folder = model_folder(resolve(self._name))
                if identify(folder) != self._sha256:
                    raise BundleError(
                        f"encoder {self._name} is not the one that the bundle was compiled with; "
                        "run `guard compile` again"
                    )
                self._encoder = Encoder(str(folder))
        return self._encoder(texts)
