"""The guard itself: a loaded bundle that decides about texts, without any engine."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from guard.batching import BundleEncoder
from guard.bundle import Bundle, load_bundle
from guard.decision import Decision, Finding, Score
from guard.detectors import DETECTORS
from guard.detectors.base import Placed
from guard.detectors.detection import Detection, placed, shared_parts
from guard.errors import GuardError
from guard.fitted import read_record, unusable
from guard.interventions import INTERVENTIONS
from guard.interventions.base import Adapter, Intervention
from guard.manifest import FittedRecord
from guard.output.outputs import Output
from guard.view import View

Bands = tuple[tuple[Intervention, ...], tuple[Intervention, ...]]  # where it is sure, and in doubt


class Guard:
    """Decides which targets a text touches, and what is to be done about it.

    Use `Guard.load`. An instance is immutable and may be used from several threads.

    Attributes:
        bundle: What it was loaded from.
        encoder: The sentence encoder.
        output: How answers are checked; falsy where they are not.
    """

    def __init__(self, bundle: Bundle, before: "Guard | None" = None) -> None:
        self.bundle = bundle
        manifest = bundle.manifest
        live = [target for target in manifest.targets if target.mode != "off"]
        self._modes = {target.id: target.mode for target in live}
        self._undetected = frozenset(target.id for target in live if not target.stages)
        encoder = BundleEncoder(manifest.encoder.name, manifest.encoder.sha256)
        if before is not None and before.bundle.manifest.encoder == manifest.encoder:
            encoder = before.encoder
        self.encoder: BundleEncoder = encoder
        self._done: dict[str, Bands] = {}
        stages: dict[str, dict[str, Placed]] = {}
        for target in live:
            try:
                sure = _interventions(target.id, target.interventions, bundle)
                doubtful = target.doubtful and _interventions(target.id, target.doubtful, bundle)
                self._done[target.id] = sure, doubtful or sure
                for detector, part in placed(target.stages, bundle.arrays).items():
                    DETECTORS.get(detector)  # named with its target when it is not installed
                    stages.setdefault(detector, {})[target.id] = part
            except (GuardError, ValueError, KeyError) as error:
                raise unusable(bundle, error, target.id) from None
        try:
            self._detection = Detection(stages, shared_parts(bundle), self.encoder)
        except (GuardError, ValueError, KeyError) as error:
            raise unusable(bundle, error) from None
        self.output = Output(bundle)

    @classmethod
    def load(cls, path: str | Path, before: "Guard | None" = None) -> "Guard":
        """Loads a bundle.

        Args:
            path: Its folder.
            before: A guard whose encoder is used, where it is the bundle's.

        Raises:
            BundleError: It is missing, damaged, foreign or newer than this version.
        """
        return cls(load_bundle(path), before)

    @property
    def version(self) -> str:
        """The bundle's version."""
        return self.bundle.version

    @property
    def interventions(self) -> tuple[Intervention, ...]:
        """Every intervention of every target that is not off."""
        both = (band for bands in self._done.values() for band in dict.fromkeys(bands))
        return tuple(intervention for band in both for intervention in band)

    def interventions_for(self, finding: Finding) -> tuple[Intervention, ...]:
        """What is done about a finding, in this order."""
        sure, doubtful = self._done[finding.target]
        return doubtful if finding.score.doubtful else sure

    def doubted(self, decision: Decision | None) -> frozenset[str]:
        """The targets that an answer may be about, as far as its prompt tells.

        Args:
            decision: What was decided about the prompt; None where nothing was.

        Returns:
            Those that the prompt came near to, and those whose prompts are not judged at all
            (policy ``detect: off``): of them nothing is known before the answer.
        """
        near = frozenset[str]() if decision is None else decision.doubted
        return near | self._undetected

    def interventions_of(self, target: str) -> tuple[Intervention, ...]:
        """What is done about a target where there is no doubt, in this order."""
        return self._done[target][0]

    @property
    def engine_args(self) -> dict[str, Any]:
        """Engine arguments that the bundle needs; see `Intervention.engine_args`."""
        args: dict[str, Any] = {}
        needed = [one.engine_args for one in self.interventions]
        for some in (*needed, self.output.engine_args):
            for name, value in some.items():
                held = args.get(name, value)
                if isinstance(value, list):
                    value = [*held, *(one for one in value if one not in held)]
                elif isinstance(value, int) and not isinstance(value, bool):
                    value = max(held, value)
                args[name] = value
        return args

    @property
    def adapters(self) -> tuple[Adapter, ...]:
        """Every adapter that a request may be given."""
        return tuple(adapter for one in self.interventions for adapter in one.adapters)

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
        findings = [self._finding(target, score) for target, score in best.items() if score.flags]
        findings.sort(key=self._rank, reverse=True)
        return Decision(tuple(findings), self.version, tuple(sorted(best.items())))

    def _finding(self, target: str, score: Score) -> Finding:
        sure, doubtful = self._done[target]
        kinds = (one.kind for one in (doubtful if score.doubtful else sure))
        return Finding(target, score, self._modes[target], "+".join(kinds))

    def _rank(self, finding: Finding) -> tuple[bool, int, float]:
        strictness = max(one.strictness for one in self.interventions_for(finding))
        return finding.mode == "enforce", strictness, finding.score.margin


def _interventions(
    target: str, records: Sequence[FittedRecord], bundle: Bundle
) -> tuple[Intervention, ...]:
    """What is to be done about a target, ready to be done."""
    made = []
    for record in records:
        kind, options, parts = read_record(record, INTERVENTIONS, bundle.arrays)
        made.append(kind(target, options, parts))
    return tuple(made)
