"""One target, from its rows to its record in a bundle: fitted, calibrated, tried."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from guard.bundle import array_name
from guard.choices import OFF, DetectChoice, Intervene
from guard.detectors import DETECTORS
from guard.detectors.base import DetectOptions, Detector, Encode, Examples, Fitted, Parts
from guard.detectors.calibration import Calibration, Floor
from guard.detectors.heldout import FOREIGN, SIDES, HeldOut
from guard.errors import DataError, PolicyError
from guard.fitted import Arrays, fit_choice, fit_output
from guard.interventions.base import Material
from guard.language import foreign
from guard.manifest import StageRecord
from guard.policy import Target
from guard.self_test import pick_prompts

ENOUGH = 20  # rows of a side; with fewer, 10 to 45 % of neighbours were flagged where we measured

Report = Callable[[str], None]


def stages_of(choice: DetectChoice) -> list[tuple[type[Detector], DetectOptions, DetectOptions]]:
    """Returns each stage's detector, its own options, and those of the whole choice."""
    if choice.kind == OFF:
        return []
    chosen = DETECTORS.get(choice.kind)
    options = chosen.Options.model_validate(choice.options)
    if not chosen.stages:
        return [(chosen, options, options)]
    rate = options.max_false_positive_rate
    kinds = [kind for kind in chosen.stages if getattr(options, kind, True)]
    detectors = [DETECTORS.get(kind) for kind in kinds]
    return [(d, d.Options(max_false_positive_rate=rate), options) for d in detectors]


def stand_ins(
    targets: Sequence[tuple[Target, Examples]],
) -> list[tuple[Target, Examples]]:
    """Returns targets as they are protected until their own detectors are fitted.

    Those are left out that no other kind of detector can stand in for.
    """
    found = []
    for target, examples in targets:
        choice = _settled(target)
        if choice.kind == OFF:
            continue
        chosen = DETECTORS.get(choice.kind)
        if chosen.first:
            rate = chosen.Options.model_validate(choice.options).max_false_positive_rate
            first = DetectChoice.model_validate(
                {"kind": chosen.first, "max_false_positive_rate": rate}
            )
            output = target.output and target.output.at_once()
            update = {"detect": first, "output": output}
            found.append((target.model_copy(update=update), examples))
    return found


def needs(targets: Sequence[Target]) -> set[str]:
    """Returns the detector kinds that targets ask for."""
    return {d.kind for target in targets for d, _, _ in stages_of(_settled(target))}


def share(
    targets: Sequence[tuple[Target, Examples]], encode: Encode, held: Mapping[str, Parts]
) -> dict[str, Parts]:
    """Makes what all targets of a detector kind have in common, where it is not there yet."""
    by_kind: dict[str, tuple[type[Detector], DetectOptions, dict[str, Examples]]] = {}
    for target, examples in targets:
        for detector, options, _ in stages_of(_settled(target)):
            _, first, members = by_kind.setdefault(detector.kind, (detector, options, {}))
            members[target.id] = examples
            if getattr(options, "encoder", None) != getattr(first, "encoder", None):
                raise DataError(
                    f"target {target.id}: detect: encoder: all targets of kind {detector.kind} "
                    "share one; name the same folder everywhere, or none"
                )
    shared = dict(held)
    for kind, (detector, options, members) in by_kind.items():
        if kind not in shared:
            parts = detector.share(members, options, encode)
            if parts is not None:
                shared[kind] = parts
    return shared


def fit_target(
    target: Target,
    examples: Examples,
    shared: Mapping[str, Parts],
    encode: Encode,
    report: Report,
    served: Path | None = None,
) -> tuple[dict[str, Any], Arrays]:
    """Fits, calibrates and tries one target.

    Args:
        target: What the policy says of it.
        examples: Its rows.
        shared: What targets share, by detector kind.
        encode: The sentence encoder.
        report: Is told what an operator should know, a line at a time.
        served: The served model's folder, where an intervention needs it.

    Returns:
        Its record in the manifest, and the arrays that go with it, by file name.

    Raises:
        GuardError: The rows do not do; the message says why and what would.
    """
    if target.intervene is None or target.output is None:
        raise PolicyError("detect, intervene and output are not settled")
    if _settled(target).kind == OFF and not target.output.check:
        raise DataError("detect is off, and output too: nothing would guard it; give an 'output'")
    stages, detection, arrays = _stages(target, examples, shared, encode, report)
    material = Material(examples, encode, served)
    bands = _bands(target.intervene, material, arrays)
    per_tenant = {
        id_: {
            "mode": one.mode,
            **(_bands(one.intervene, material, arrays) if one.intervene else {}),
        }
        for id_, one in target.per_tenant.items()
    }
    output = fit_output(target.output, material, arrays)
    if output is not None:
        kinds = ", ".join(one["kind"] for one in output["checks"])
        report(f"  {target.id}: answers are read by: {kinds}; on a hit: {output['on_hit']}")
    positives, negatives = pick_prompts(stages, arrays, shared, examples, encode)
    record = {
        "id": target.id,
        "reason": target.reason,
        "mode": target.mode,
        "stages": [stage.model_dump() for stage in stages],
        "detection": detection,
        **bands,
        "positives": positives,
        "negatives": negatives,
        "output": output,
        "tenants": target.tenants and list(target.tenants),
        "per_tenant": per_tenant,
    }
    return record, arrays


def _bands(
    intervene: Intervene, material: Material, arrays: Arrays
) -> dict[str, list[dict[str, Any]] | None]:
    """What is done about a target, as its record has it; see `fit_choice`."""
    sure = [fit_choice(choice, material, arrays) for choice in intervene.sure]
    doubtful = intervene.doubtful
    other = doubtful and [fit_choice(choice, material, arrays) for choice in doubtful]
    return {"interventions": sure, "doubtful": other or None}


def _stages(
    target: Target, examples: Examples, shared: Mapping[str, Parts], encode: Encode, report: Report
) -> tuple[list[StageRecord], dict[str, Any], Arrays]:
    choice = _settled(target)
    if choice.kind == OFF:
        return [], {}, {}
    rows = (examples.forget, examples.retain, examples.background)
    other_language = np.array([foreign(row.prompt) for row in examples.background], dtype=np.bool_)
    held_out = HeldOut([len(side) for side in rows], other_language)
    stages: list[StageRecord] = []
    arrays: Arrays = {}
    for detector, options, whole in stages_of(choice):
        fitted = detector.fit(examples, options, encode, shared.get(detector.kind))
        if fitted is None:
            continue
        if not len(examples.retain):
            raise DataError(
                "retain: give a file of neighbours that must keep working; "
                "the detectors are calibrated on them"
            )
        found = sieve = None
        scores = _scores(fitted)
        if detector.flags:
            rate = options.max_false_positive_rate
            found = held_out.calibrate(scores, rate, detector.midway)
        if detector.dismisses:
            sieve = held_out.sieve(
                scores, getattr(whole, "max_miss_rate", 0.0), getattr(whole, "pass_rate", 0.05)
            )
        threshold = None if found is None else found.threshold
        floor = None if sieve is None else sieve.floor
        kept: Arrays = dict(scores)
        if sieve is not None:
            kept[FOREIGN] = other_language
        highest = held_out.highest_kept(scores)
        held_out.settle(scores, threshold, floor)
        sure = None if threshold is None else max(threshold, math.nextafter(highest, math.inf))
        stage, stored = _record(detector.kind, found, sieve, fitted.parts, kept)
        stage = stage.model_copy(update={"sure": sure})
        for line in remarks(stage):
            report(f"  {target.id}: {line}")
        stages.append(stage)
        arrays |= stored
    if not any(stage.threshold is not None for stage in stages):
        kinds = tuple(detector.kind for detector, _, _ in stages_of(choice))
        raise DataError(
            f"detector {choice.kind!r} has nothing to go by: give "
            f"{'names' if kinds == ('lexical',) else 'a forget file with questions or passages'}"
        )
    return stages, held_out.detection(), arrays


def _scores(fitted: Fitted) -> dict[str, npt.NDArray[np.float64]]:
    sides = (fitted.positives, fitted.neighbours, fitted.background)
    return {name: np.asarray(s, dtype=np.float64) for name, s in zip(SIDES, sides, strict=True)}


def _settled(target: Target) -> DetectChoice:
    if target.detect is None:
        raise PolicyError("detect, intervene and output are not settled")
    return target.detect


def _record(
    kind: str,
    found: Calibration | None,
    sieve: Floor | None,
    parts: Parts,
    scores: Mapping[str, npt.NDArray[Any]],
) -> tuple[StageRecord, Arrays]:
    names = {name: array_name(array) for name, array in parts.arrays.items()}
    score_names = {side: array_name(array) for side, array in scores.items()}
    stored = {names[name]: array for name, array in parts.arrays.items()}
    stored |= {score_names[side]: array for side, array in scores.items()}
    stage = StageRecord(
        kind=kind,
        threshold=None if found is None else found.threshold,
        sure=None,
        floor=None if sieve is None or not math.isfinite(sieve.floor) else sieve.floor,
        calibration=None if found is None else found.to_dict(),
        sieve=None if sieve is None or not math.isfinite(sieve.floor) else asdict(sieve),
        data=json.loads(json.dumps(parts.data)),
        arrays=names,
        scores=score_names,
    )
    return stage, stored


def remarks(stage: StageRecord) -> list[str]:
    """Returns what an operator should know about a stage's threshold and floor."""
    lines = []
    if (found := stage.calibration) is not None:
        share = [f"{name} {value:.0%}" for name, value in (
            ("forget rows", found["detected"]), ("neighbours", found["neighbours_flagged"])
        ) if value is not None]  # fmt: skip
        said = ", ".join(share) or "none"
        lines.append(f"{stage.kind} flags, of the held-out rows: {said}")
        if stage.kind not in ("lexical", "multilingual") and min(found["rows"][:2]) < ENOUGH:
            lines.append(
                f"warning: {stage.kind}: {found['rows'][0]} forget and {found['rows'][1]} retain "
                f"rows are few; give {ENOUGH} or more of each, or neighbours will be flagged too"
            )
    if (sieve := stage.sieve) is not None:
        lines.append(
            f"{stage.kind} dismisses {1 - sieve['passed']:.1%} of everyday prompts and "
            f"{sieve['missed']:.1%} of the held-out forget rows"
        )
    return lines
