"""How a target's held-out rows scored, as histograms: numbers of rows, never a row."""

from typing import Any

import numpy as np

from guard.bundle import Bundle
from guard.detectors.heldout import SIDES
from guard.manifest import StageRecord, TargetRecord

_BINS = 40
# What the sides are called where people read them.
NAMES = {"positives": "forget", "neighbours": "retain", "background": "everyday"}


def stages_of(target: TargetRecord, bundle: Bundle) -> list[dict[str, Any]]:
    """Returns what each stage of a target rests on.

    Of each stage: its kind, its threshold, its floor, the score that leaves no doubt, and the
    histogram of the held-out scores it was calibrated by (`edges` [bins + 1], counts [bins] of
    each side); how many rows there are, how many reach the threshold, and how many say nothing
    of the stage (`rows`, `reached`, `unscored`).
    """
    return [_stage(stage, bundle) for stage in target.stages]


def _stage(stage: StageRecord, bundle: Bundle) -> dict[str, Any]:
    sides = {NAMES[s]: np.asarray(bundle.arrays[stage.scores[s]], np.float64) for s in SIDES}
    finite = {name: scores[np.isfinite(scores)] for name, scores in sides.items()}
    marks = [one for one in (stage.threshold, stage.floor) if one is not None and np.isfinite(one)]
    seen = np.concatenate([*finite.values(), np.array(marks, np.float64)])
    low, high = (float(seen.min()), float(seen.max())) if len(seen) else (0.0, 1.0)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, _BINS + 1)
    return {
        "detector": stage.kind,
        "threshold": stage.threshold,
        "sure": stage.sure if stage.sure is None or np.isfinite(stage.sure) else None,
        "floor": stage.floor,
        "edges": edges.tolist(),
        "counts": {
            name: np.histogram(scores, edges)[0].tolist() for name, scores in finite.items()
        },
        "reached": {
            name: 0 if stage.threshold is None else int((scores >= stage.threshold).sum())
            for name, scores in sides.items()
        },
        "rows": {name: len(scores) for name, scores in sides.items()},
        "unscored": {name: len(sides[name]) - len(finite[name]) for name in sides},
    }
