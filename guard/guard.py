"""The guard itself: a loaded bundle that decides about texts, without any engine."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from guard.batching import BundleEncoder
from guard.bundle import Bundle, load_bundle
from guard.decision import Decision, Finding
from guard.detectors import DETECTORS
from guard.detectors.base import Placed
from guard.detectors.detection import Detection, placed, shared_parts
from guard.errors import BundleError, GuardError
from guard.interventions import INTERVENTIONS
from guard.interventions.base import Intervention
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
        self.encoder = BundleEncoder(manifest.encoder.name, manifest.encoder.sha256)
        self.interventions: dict[str, Intervention] = {}
        stages: dict[str, dict[str, Placed]] = {}
        for target in live:
            record = target.intervention
            try:
                kind = INTERVENTIONS.get(record.kind)
                options = kind.Options.model_validate(record.options)
                self.interventions[target.id] = kind(target.id, options, record.state)
                for detector, part in placed(target.stages, bundle.arrays).items():
                    DETECTORS.get(detector)  # named with its target when it is not installed
                    stages.setdefault(detector, {})[target.id] = part
            except (GuardError, ValueError, KeyError) as error:
                reason = " ".join(str(error).split())  # pydantic takes several lines
                raise BundleError(f"{bundle.path}: target {target.id}: {reason}") from None
        try:
            self._detection = Detection(stages, shared_parts(bundle), self.encoder)
        except (GuardError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())
            raise BundleError(f"{bundle.path}: {reason}") from None

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

    def warm(self) -> None:
        """Loads what is loaded on demand otherwise, so that no request has to wait for it."""
        self.encoder(["warm"])
        self._detection.warm()

    def decide(self, prompt: str | Sequence[Mapping[str, Any]] | View) -> Decision:
        """Decides about a text, chat messages, or a view of a rendered prompt.

        Raises:
            DetectionError: A detector failed; the request must not be answered.
        """
        if isinstance(prompt, str):
            view = View.of_text(prompt)
        else:
            view = prompt if isinstance(prompt, View) else View.of_messages(prompt)
        best = self._detection(view, frozenset(self._modes))
        findings = [
            Finding(target, score, self._modes[target], self.interventions[target].kind)
            for target, score in best.items()
            if score.flags
        ]
        findings.sort(key=self._rank, reverse=True)
        return Decision(tuple(findings), self.version, tuple(sorted(best.items())))

    def _rank(self, finding: Finding) -> tuple[bool, int, float]:
        strictness = self.interventions[finding.target].strictness
        return finding.mode == "enforce", strictness, finding.score.margin
