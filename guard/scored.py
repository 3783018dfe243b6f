"""What every stage of a bundle makes of prompts, whatever its threshold is."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from guard.batching import BundleEncoder
from guard.bundle import Bundle
from guard.detectors.base import Placed
from guard.detectors.calibration import Scores
from guard.detectors.detection import Detection, placed, shared_parts
from guard.view import View

_TOGETHER = 16  # prompts scored at once: their texts are encoded in one go


class Scored:
    """Prompts, scored by the running detectors of a bundle.

    A stage sees what the floors of those before it leave; nothing is kept from it by a flag.

    Args:
        bundle: The bundle.
        prompts: The prompts [n].

    Attributes:
        foreign: Prompts with a window that no floor dismisses [n].
    """

    def __init__(self, bundle: Bundle, prompts: Sequence[str]) -> None:
        manifest = bundle.manifest
        self.prompts = prompts
        self.foreign = np.zeros(len(prompts), dtype=np.bool_)
        self._scores: dict[tuple[str, str], Scores] = {}
        stages: dict[str, dict[str, Placed]] = {}
        for target in manifest.targets:
            for kind, part in placed(target.stages, bundle.arrays).items():
                # Out of reach: a stage that flags a prompt would keep it from those that follow.
                stages.setdefault(kind, {})[target.id] = replace(part, threshold=np.inf)
                self._scores[target.id, kind] = np.full(len(prompts), np.nan)
        encoder = BundleEncoder(manifest.encoder.name, manifest.encoder.sha256)
        self._detection = Detection(stages, shared_parts(bundle), encoder)
        self._targets = frozenset(target.id for target in manifest.targets)
        with ThreadPoolExecutor(_TOGETHER) as pool:
            list(pool.map(self._score, range(len(prompts))))

    def of(self, target: str, kind: str) -> Scores:
        """One stage's scores [n]; NaN where it has nothing to say."""
        return self._scores[target, kind]

    def flagged(self, target: str, thresholds: Mapping[str, float]) -> npt.NDArray[np.bool_]:
        """Which prompts a target's thresholds, by detector kind, flag [n]."""
        flags = np.zeros(len(self.prompts), dtype=np.bool_)
        for kind, threshold in thresholds.items():
            flags |= self._scores[target, kind] >= threshold  # NaN never does
        return flags

    def _score(self, number: int) -> None:
        view = View.of_text(self.prompts[number]).read()
        self.foreign[number] = any(window.foreign for window in view.windows)
        for scores in self._detection.stages(view, self._targets):
            for target, score in scores.items():
                self._scores[target, score.detector][number] = score.value
