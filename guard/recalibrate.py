"""Thresholds chosen anew from traffic: everything else of a bundle stays as it is.

A bundle keeps the held-out scores that its thresholds came from. Real traffic adds to them, or
takes the place of those of the everyday prompts, and the thresholds are chosen once more. Floors
stay: what the cheap stages let through is settled by the forget rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from guard.bundle import Bundle, array_name, check_out, load_bundle
from guard.changes import Change, Recalibration, Threshold, named
from guard.data import read_rows
from guard.detectors import DETECTORS
from guard.detectors.calibration import Scores, needed
from guard.detectors.heldout import FOREIGN, SIDES, HeldOut
from guard.errors import DataError, GuardError
from guard.manifest import TargetRecord
from guard.scored import Scored
from guard.versions import new_version

Arrays = dict[str, npt.NDArray[Any]]


def recalibrate(
    bundle: Path, traffic: Path, out: Path, rate: float | None = None, only_traffic: bool = False
) -> Recalibration:
    """Chooses a bundle's thresholds anew from traffic and writes the bundle that has them.

    Args:
        bundle: The bundle.
        traffic: JSON lines of prompts that must not be flagged; a repeated one counts once.
        out: The folder to make; an existing bundle there is replaced.
        rate: The false-positive rate to ask for; without, that of each stage so far.
        only_traffic: Whether the traffic takes the place of the everyday prompts.

    Raises:
        GuardError: The bundle or the traffic is wrong, or too small for the rate; nothing is
            written then.
    """
    if rate is not None and not 0 < rate < 1:
        raise GuardError(f"--max-false-positive-rate: {rate:g} must lie between 0 and 1")
    loaded = load_bundle(bundle)
    check_out(out)
    numbers: dict[str, int] = {}
    for number, row in enumerate(read_rows(traffic), 1):
        numbers.setdefault(row.prompt, number)
    known = [*(p for t in loaded.manifest.targets for p in (*t.positives, *t.negatives))]
    scored = Scored(loaded, list(dict.fromkeys((*numbers, *known))))
    new = _Traffic(scored, np.array(list(numbers.values())), rate, only_traffic)
    arrays: Arrays = {}
    targets, changes = [], []
    for target in loaded.manifest.targets:
        if not target.stages:  # its prompts are not judged
            targets.append(target.model_dump())
            continue
        try:
            record, change = _recalibrated(target, loaded, new, arrays)
        except DataError as error:
            raise DataError(f"{traffic}: target {target.id}: {error}") from None
        targets.append(record.model_dump())
        changes.append(change)
    written = new_version(loaded, out, targets, arrays)
    return Recalibration(written, loaded.version, len(numbers), tuple(changes))


@dataclass(frozen=True)
class _Traffic:
    """Scored traffic: the first prompts that were scored, and what is wanted of them.

    Attributes:
        rows: Where each prompt stands in its file [n].
        rate: The rate to ask for, or that of each stage so far.
        only: Whether it takes the place of the everyday prompts.
    """

    scored: Scored
    rows: npt.NDArray[np.intp]
    rate: float | None
    only: bool

    def join(self, stored: npt.NDArray[Any], own: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Everyday rows and traffic in one array, of what is known of each."""
        own = own[: len(self.rows)]
        return own if self.only else np.concatenate([stored, own])


def _recalibrated(
    target: TargetRecord, bundle: Bundle, new: _Traffic, arrays: Arrays
) -> tuple[TargetRecord, Change]:
    """One target's record with new thresholds; adds to `arrays` what it refers to."""
    held = [{n: bundle.arrays[file] for n, file in s.scores.items()} for s in target.stages]
    masks = [scores[FOREIGN] for scores in held if FOREIGN in scores]
    everyday = len(held[0]["background"])
    mask = new.join(masks[0] if masks else np.zeros(everyday, np.bool_), new.scored.foreign)
    counts = [len(held[0][side]) for side in SIDES[:2]]
    held_out = HeldOut((*counts, len(mask)), mask)
    stages, thresholds = [], []
    for stage, scores in zip(target.stages, held, strict=True):
        sides = {side: np.asarray(scores[side], np.float64) for side in SIDES}
        own = _voiced(new.scored.of(target.id, stage.kind), sides["background"], stage.floor)
        sides["background"] = new.join(sides["background"], own)
        update: dict[str, Any] = {}
        if stage.threshold is not None and stage.calibration is not None:
            rate = new.rate or float(stage.calibration["requested"])
            _check_enough(stage.kind, sides["background"], rate, new.only)
            found = held_out.calibrate(sides, rate, DETECTORS.get(stage.kind).midway)
            sure = max(found.threshold, np.nextafter(held_out.highest_kept(sides), np.inf))
            update = {"threshold": found.threshold, "calibration": found.to_dict()}
            update["sure"] = float(sure)
            thresholds.append(
                Threshold(
                    stage.kind, stage.threshold, found.threshold, rate, found.bound, found.upper
                )
            )
        held_out.settle(sides, update.get("threshold"), stage.floor)
        stored = {"background": sides["background"]}
        if FOREIGN in scores:
            stored[FOREIGN] = mask
        files = {side: array_name(array) for side, array in stored.items()}
        arrays |= {files[side]: array for side, array in stored.items()}
        stages.append(stage.model_copy(update={**update, "scores": {**stage.scores, **files}}))
    before = new.scored.flagged(target.id, {t.detector: t.before for t in thresholds})
    after = new.scored.flagged(target.id, {t.detector: t.after for t in thresholds})
    detection = {**held_out.detection(), "traffic": len(new.rows)}
    if not new.only:
        detection["traffic"] += target.detection.get("traffic", 0)
    change = Change(
        target=target.id,
        thresholds=tuple(thresholds),
        before=_rows(new, before),
        after=_rows(new, after),
        allowed=max(t.requested for t in thresholds) * len(new.rows),
        detected_before=target.detection.get("detected"),
        detected_after=detection["detected"],
    )
    tests = _self_test(target, dict(zip(new.scored.prompts, after.tolist(), strict=True)), change)
    update = {"stages": stages, "detection": detection, **tests}
    return target.model_copy(update=update), change


def _voiced(own: Scores, stored: Scores, floor: float | None) -> Scores:
    """New scores as held-out ones are written.

    A running stage leaves out what scores next to nothing. Held out, that is the lowest score,
    unless the stage is one that most rows say nothing of.
    """
    if not len(stored) or np.isnan(stored).any():
        return own
    lowest = float(stored.min())
    if floor is not None:
        lowest = min(lowest, float(np.nextafter(floor, -np.inf)))
    return np.where(np.isnan(own), lowest, own)


def _check_enough(kind: str, everyday: Scores, rate: float, only: bool) -> None:
    count = int((~np.isnan(everyday)).sum())
    if count < needed(rate):
        what = "prompts of the traffic" if only else "everyday prompts and traffic together"
        raise DataError(
            f"{kind}: {count} {what} cannot vouch for a false-positive rate of {rate:g}: it needs "
            f"{needed(rate)}; give more, {'leave out --only-traffic, ' if only else ''}"
            "or ask for a higher rate"
        )


def _self_test(
    target: TargetRecord, flagged: Mapping[str, bool], change: Change
) -> dict[str, list[str]]:
    """The prompts that a live guard must decide as the new thresholds do.

    Raises:
        DataError: None of the target's own prompts is flagged any more, or all others are.
    """
    positives = [prompt for prompt in target.positives if flagged[prompt]]
    negatives = [prompt for prompt in target.negatives if not flagged[prompt]]
    if not positives:
        raise DataError(
            "with it, none of the target's own self-test prompts would be flagged; take out the "
            f"prompts that are about the target (so far flagged: {named(change.before)})"
        )
    if not negatives:
        raise DataError(
            "with it, all of the target's harmless self-test prompts would be flagged; "
            "ask for a lower --max-false-positive-rate"
        )
    return {"positives": positives, "negatives": negatives}


def _rows(new: _Traffic, flags: npt.NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(new.rows[flags[: len(new.rows)]].tolist())
