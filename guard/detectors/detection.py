"""The detectors of a bundle at work: the cheap look first, and only doubt goes on.

A stage settles a target when it flags it. A stage with a floor also narrows what the later ones
see: a window that scores below a target's floor is dismissed for that target, and a target without
windows is settled as untouched. Windows in other languages than English are never dismissed.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from guard.bundle import Bundle
from guard.decision import Score
from guard.detectors import DETECTORS
from guard.detectors.base import Detector, Encode, Parts, Placed, Windowed
from guard.detectors.memory import Remembering
from guard.errors import DetectionError
from guard.manifest import StageRecord
from guard.view import View, Window

Stages = Mapping[str, Mapping[str, Placed]]


class Detection:
    """Scores views for all targets of a bundle. May be used from several threads.

    Args:
        stages: Detector kind, to target id, to the target's part in it.
        shared: Detector kind to what its targets share.
        encode: The sentence encoder.

    Raises:
        GuardError: A kind is not installed.
        ValueError: Parts are not what their kind reads; KeyError likewise.
    """

    def __init__(self, stages: Stages, shared: Mapping[str, Parts], encode: Encode) -> None:
        detectors = [
            DETECTORS.get(kind)(placed, encode, shared.get(kind)) for kind, placed in stages.items()
        ]
        self.detectors: list[Detector] = sorted(detectors, key=lambda detector: detector.cost)
        self._memories = {
            detector.kind: Remembering(detector)
            for detector in self.detectors
            if isinstance(detector, Windowed)
        }

    def warm(self) -> None:
        """Loads what the first request should not have to wait for."""
        View.of_text("warm").read()
        for detector in self.detectors:
            detector.warm()

    def __call__(self, view: View, targets: frozenset[str]) -> dict[str, Score]:
        """Returns each target's score, of the stage that came nearest to flagging it.

        Raises:
            DetectionError: A detector failed; the request must not be answered.
        """
        try:
            view = view.read()
        except Exception as error:
            raise _failed("view", error) from error
        best: dict[str, Score] = {}
        for scores in self.stages(view, targets):
            for target, score in scores.items():
                held = best.get(target)
                if held is None or score.margin > held.margin:
                    best[target] = score
        return best

    def stages(self, view: View, targets: frozenset[str]) -> Iterator[dict[str, Score]]:
        """Yields each target's scores, stage by stage, of a view whose disguises are undone.

        Raises:
            DetectionError: A detector failed.
        """
        try:
            left = dict.fromkeys(targets, _distinct(view.windows))
        except Exception as error:
            raise _failed("view", error) from error
        for detector in self.detectors:
            mine = frozenset(left) & detector.targets.keys()
            if not mine:
                continue
            try:
                scores = self._ask(detector, view, mine, left)
            except Exception as error:
                raise _failed(detector.kind, error) from error
            yield scores
            for target, score in scores.items():
                if score.flags:
                    del left[target]

    def _ask(
        self,
        detector: Detector,
        view: View,
        mine: frozenset[str],
        left: dict[str, tuple[int, ...]],
    ) -> dict[str, Score]:
        """One stage's scores; takes from `left` what the stage dismisses."""
        if not isinstance(detector, Windowed):
            found = detector.score(view, mine)
            return {target: _placed(score, view) for target, score in found.items()}
        numbers = sorted({number for target in mine for number in left[target]})
        windows = [view.windows[number] for number in numbers]
        scored = self._memories[detector.kind].window_scores(windows, mine)
        by_window = dict(zip(numbers, scored, strict=True))
        best: dict[str, Score] = {}
        for target in mine:
            placed = detector.targets[target]
            open_windows = left[target]
            values = {n: by_window[n][target] for n in open_windows if target in by_window[n]}
            if any(map(math.isnan, values.values())):
                raise ValueError("a score is not a number")  # it would be dismissed
            if values:
                top = max(values, key=lambda number: values[number])
                span = view.evidence(_span(view.windows[top]))
                weight = detector.weight(target, values[top])
                best[target] = placed.score(values[top], detector.kind, span, weight)
            kept = tuple(
                number
                for number in open_windows
                if values.get(number, _NEVER) >= placed.floor or view.windows[number].foreign
            )
            if kept or (target in best and best[target].flags):
                left[target] = kept
            else:
                del left[target]
        return best


_NEVER = float("-inf")


def _distinct(windows: Sequence[Window]) -> tuple[int, ...]:
    """The first window of each text: a text that is repeated scores the same."""
    first: dict[str, int] = {}
    for number, window in enumerate(windows):
        first.setdefault(window.text, number)
    return tuple(first.values())


def _span(window: Window) -> tuple[int, int]:
    return window.start, window.end


def _placed(score: Score, view: View) -> Score:
    if score.span is None:
        return score
    return replace(score, span=view.evidence(score.span))


def _failed(what: str, error: Exception) -> DetectionError:
    # The type only: a message could quote the prompt.
    return DetectionError(f"detector {what!r} failed ({type(error).__name__})")


def shared_parts(bundle: Bundle) -> dict[str, Parts]:
    """Returns detector kind to what its targets share."""
    return {
        kind: Parts(record.data, {n: bundle.arrays[file] for n, file in record.arrays.items()})
        for kind, record in bundle.manifest.shared.items()
    }


def placed(stages: Sequence[StageRecord], arrays: Mapping[str, Any]) -> dict[str, Placed]:
    """Returns detector kind to `Placed`, of a target's stage records in a bundle."""
    found = {}
    for stage in stages:
        parts = Parts(stage.data, {name: arrays[file] for name, file in stage.arrays.items()})
        threshold = float("inf") if stage.threshold is None else stage.threshold
        floor = _NEVER if stage.floor is None else stage.floor
        scale = (stage.calibration or {}).get("scale", 1.0)
        sure = _NEVER if stage.sure is None else stage.sure
        found[stage.kind] = Placed(parts, threshold, floor, scale, sure)
    return found
