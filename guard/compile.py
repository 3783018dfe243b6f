"""Policy to bundle: fit the detectors, calibrate their thresholds, prepare the interventions."""

import hashlib
import importlib.resources
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from guard import __version__
from guard.bundle import Bundle, array_name, check_out, write_bundle
from guard.data import Row, read_rows
from guard.detectors import DETECTORS
from guard.detectors.base import Encode, Examples, Parts
from guard.detectors.calibration import Calibration, calibrate
from guard.encoder import Encoder
from guard.errors import DataError, GuardError, PolicyError
from guard.identity import identify, model_folder
from guard.interventions import INTERVENTIONS
from guard.models import resolve
from guard.policy import Target, load_policy
from guard.view import View

ENOUGH = 20  # rows of a side; with fewer, 10 to 45 % of neighbours were flagged where we measured
SELF_TESTS = 3  # prompts a target and side: a bundle holds the least it can

Report = Callable[[str], None]


def compile_policy(path: Path, out: Path, report: Report = lambda line: None) -> Bundle:
    """Compiles a policy into a bundle.

    Args:
        path: The policy.
        out: The folder to make; an existing bundle there is replaced.
        report: Is told each step, a line at a time.

    Raises:
        GuardError: The policy, the data or a model is wrong; nothing is written then.
    """
    policy = load_policy(path)
    check_out(out)
    background = tuple(read_rows(_background()))
    examples = {target.id: _examples(target, background, path) for target in policy.targets}
    report(f"identifying {policy.model}")
    served = identify(model_folder(resolve(policy.model)))
    folder = model_folder(resolve(policy.encoder))
    encode = _remembering(Encoder(str(folder)))
    arrays: dict[str, npt.NDArray[Any]] = {}
    targets = []
    for number, target in enumerate(policy.targets, 1):
        report(f"fitting {target.id} ({number}/{len(policy.targets)})")
        try:
            record, stored = _target(target, examples[target.id], encode, report)
        except GuardError as error:
            raise type(error)(f"{path}: targets[{number - 1}] ({target.id}): {error}") from None
        targets.append(record)
        arrays |= stored
    manifest = {
        "created_by": f"unlearn-guard {__version__}",
        "policy_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "model": {"name": policy.model, "sha256": served},
        "encoder": {"name": policy.encoder, "sha256": identify(folder)},
        "on_error": policy.on_error,
        "timeout": policy.timeout,
        "targets": targets,
    }
    report("writing")
    return write_bundle(out, manifest, arrays)


def _background() -> Path:
    return Path(str(importlib.resources.files("guard") / "background.jsonl"))


def _examples(target: Target, background: tuple[Row, ...], policy: Path) -> Examples:
    forget = tuple(read_rows(target.forget)) if target.forget else ()
    retain = tuple(read_rows(target.retain)) if target.retain else ()
    shared = {row.prompt for row in forget} & {row.prompt for row in retain}
    if shared:
        raise DataError(
            f"{target.retain}: {len(shared)} of its rows are also in {target.forget}; "
            "a prompt is either to be forgotten or to be kept"
        )
    return Examples(target.names, forget, retain, background)


def _target(
    target: Target, examples: Examples, encode: Encode, report: Report
) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    if target.detect is None or target.intervene is None:
        raise PolicyError("detect and intervene are not settled")
    stages, arrays = _stages(target, examples, encode, report)
    kind = INTERVENTIONS.get(target.intervene.kind)
    options = kind.Options.model_validate(target.intervene.options)
    positives, negatives = _self_test(stages, arrays, examples, encode)
    record = {
        "id": target.id,
        "mode": target.mode,
        "stages": stages,
        "intervention": {
            "kind": target.intervene.kind,
            "options": options.model_dump(),
            "state": kind.fit(examples, options),
        },
        "positives": positives,
        "negatives": negatives,
    }
    return record, arrays


def _stages(
    target: Target, examples: Examples, encode: Encode, report: Report
) -> tuple[list[dict[str, Any]], dict[str, npt.NDArray[Any]]]:
    choice = target.detect
    if choice is None:
        raise PolicyError("detect is not settled")
    chosen = DETECTORS.get(choice.kind)
    options = chosen.Options.model_validate(choice.options)
    kinds = chosen.stages or (choice.kind,)
    stages: list[dict[str, Any]] = []
    arrays: dict[str, npt.NDArray[Any]] = {}
    for kind in kinds:
        detector = DETECTORS.get(kind)
        staged = options
        if chosen.stages:  # the rate asked for is that of the stages together
            rate = options.max_false_positive_rate / len(kinds)
            staged = detector.Options(max_false_positive_rate=rate)
        fitted = detector.fit(examples, staged, encode)
        if fitted is None:
            continue
        if not len(examples.retain):
            raise DataError(
                "retain: give a file of neighbours that must keep working; "
                "the detectors are calibrated on them"
            )
        found = calibrate(fitted, staged.max_false_positive_rate)
        for line in _remarks(kind, found):
            report(f"  {target.id}: {line}")
        names = {name: array_name(array) for name, array in fitted.parts.arrays.items()}
        arrays |= {names[name]: array for name, array in fitted.parts.arrays.items()}
        stages.append(
            {
                "kind": kind,
                **found.to_dict(),
                "data": json.loads(json.dumps(fitted.parts.data)),
                "arrays": names,
            }
        )
    if not stages:
        raise DataError(
            f"detector {choice.kind!r} has nothing to go by: give "
            f"{'names' if kinds == ('lexical',) else 'a forget file with questions or passages'}"
        )
    return stages, arrays


def _remarks(kind: str, found: Calibration) -> list[str]:
    """What an operator should know about a threshold."""
    share = [f"{name} {value:.0%}" for name, value in (
        ("forget rows", found.detected), ("neighbours", found.neighbours_flagged)
    ) if value is not None]  # fmt: skip
    lines = [f"{kind} flags, of the held-out rows: {', '.join(share)}"]
    if found.bound > found.requested:
        lines.append(
            f"warning: {kind}: {found.rows[2]} everyday prompts can vouch for a false-positive "
            f"rate of {found.bound:.2%}, not {found.requested:.2%}"
        )
    if kind != "lexical" and min(found.rows[:2]) < ENOUGH:
        lines.append(
            f"warning: {kind}: {found.rows[0]} forget and {found.rows[1]} retain rows are few; "
            f"give {ENOUGH} or more of each, or neighbours will be flagged too"
        )
    return lines


def _self_test(
    stages: list[dict[str, Any]],
    arrays: Mapping[str, npt.NDArray[Any]],
    examples: Examples,
    encode: Encode,
) -> tuple[list[str], list[str]]:
    """Picks the prompts that the live guard must decide as this compilation does.

    Raises:
        DataError: The detector flags nothing that it should, so it would guard nothing.
    """
    fitted = []
    for stage in stages:
        parts = Parts(stage["data"], {name: arrays[f] for name, f in stage["arrays"].items()})
        fitted.append(DETECTORS.get(stage["kind"])({"it": (parts, stage["threshold"])}, encode))

    def settled_by(prompt: str) -> int | None:
        """The first stage that flags a prompt."""
        view, it = View.of_text(prompt), frozenset({"it"})
        found = (any(s.flags for s in stage.score(view, it).values()) for stage in fitted)
        return next((number for number, flags in enumerate(found) if flags), None)

    # Names come first: they are in the bundle anyway, questions would add to what it holds.
    named = [f"Who is {name}?" for name in examples.names]
    # The shortest: a question says less of what is to be forgotten than a passage.
    asked = sorted((row.prompt for row in examples.forget), key=len)
    prompts = dict.fromkeys((*named, *asked))
    settled = {prompt: settled_by(prompt) for prompt in prompts}
    flagged = [prompt for prompt, number in settled.items() if number is not None]
    # One for each stage first: names must not be all that a live guard is asked about.
    one_each = {settled[prompt]: prompt for prompt in reversed(flagged)}
    positives = list(dict.fromkeys((*one_each.values(), *flagged)))[:SELF_TESTS]
    kept = [row.prompt for row in (*examples.retain, *examples.background)]
    negatives = [prompt for prompt in kept if settled_by(prompt) is None][:SELF_TESTS]
    if not positives:
        raise DataError(
            "the detector flags none of the target's own prompts: its neighbours are too like it; "
            "give more forget rows, or take out retain rows that are about the target"
        )
    if not negatives:
        raise DataError(
            "the detector flags every neighbour: the forget set is too like them; "
            "give more neighbours, or take out forget rows that are not about the target"
        )
    return positives, negatives


def _remembering(encode: Encode) -> Encode:
    """Encodes each text once: targets share their background."""
    seen: dict[str, npt.NDArray[Any]] = {}

    def remembering(texts: Any) -> Any:
        import numpy as np

        new = [text for text in dict.fromkeys(texts) if text not in seen]
        if new:
            seen.update(zip(new, encode(new), strict=True))
        if not texts:
            return encode(["-"])[:0]
        return np.stack([seen[text] for text in texts])

    return remembering
