"""Routes of the targets: what there is, and every change of it.

They are plain functions, which run in threads: long work keeps nobody waiting.
"""

from typing import Annotated

from fastapi import APIRouter, Header, Path, Response

from guard.admin.errors import AbsentError, TakenError, WantingError
from guard.admin.posted import posted
from guard.admin.schemas import (
    Changed,
    Detector,
    NewMode,
    NewTarget,
    Recalibrated,
    Targets,
    TargetState,
    Traffic,
)
from guard.admin.services import Given, Services, Who
from guard.admin.wanted import digest, wanted
from guard.admin.writer import Change, Report
from guard.bundle import Bundle
from guard.changes import Recalibration
from guard.errors import GuardError
from guard.manifest import TargetRecord
from guard.policy import load_policy
from guard.recalibrate import recalibrate
from guard.targets import add_targets, remove_targets, set_mode, summary

router = APIRouter(prefix="/guard", tags=["targets"])

Id = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
IfMatch = Annotated[
    str | None,
    Header(description='`"VERSION"`: the change is made to this version, and to no other (412).'),
]


@router.get("/targets")
def targets(given: Given, response: Response) -> Targets:
    """What the bundle holds, and which targets of the policy it lacks."""
    bundle = given.held.bundle()
    response.headers["etag"] = f'"{bundle.version}"'
    addable, wrong = _addable(given, bundle)
    return Targets(
        version=bundle.version,
        model=bundle.manifest.model.name,
        encoder=bundle.manifest.encoder.name,
        targets=[_state(bundle, target) for target in bundle.manifest.targets],
        addable=addable,
        policy_error=wrong,
    )


@router.get("/targets/{id}")
def target(given: Given, id: Id, response: Response) -> TargetState:
    """What the bundle says of one target."""
    bundle = given.held.bundle()
    response.headers["etag"] = f'"{bundle.version}"'
    return _state(bundle, record_of(bundle, id))


@router.put("/targets/{id}")
def add(
    given: Given, who: Who, id: Id, new: NewTarget | None = None, if_match: IfMatch = None
) -> Changed:
    """Adds a target: the policy's, or, with a body, what is posted.

    Names and words protect it at once; this answers when its detectors are fitted. Putting it
    again changes nothing. Where another body is put for a target that is there, that is refused
    (409): remove the target first.
    """
    posted_as = None if new is None else digest(new)

    def needed(bundle: Bundle) -> bool:
        there = any(one.id == id and not one.provisional for one in bundle.manifest.targets)
        if there and posted_as is not None and given.posted.get(id) != posted_as:
            raise TakenError(f"There is a target {id!r}; remove it before you put another one.")
        return not there

    def make(report: Report) -> Bundle:
        with wanted(given.policy, id, new) as (name, policy):
            bundle = add_targets(given.held.folder, name, [id], report=report, wanted=policy)
        if posted_as is not None:
            given.posted[id] = posted_as
        return bundle

    return _told(given.writer("targets add", who, _version(if_match), needed, make))


@router.delete("/targets/{id}")
def revoke(given: Given, who: Who, id: Id, if_match: IfMatch = None) -> Changed:
    """Takes a target out of the bundle; it is guarded no more. Again, it changes nothing."""

    def make(report: Report) -> Bundle:
        return remove_targets(given.held.folder, [id])

    def needed(bundle: Bundle) -> bool:
        return any(one.id == id for one in bundle.manifest.targets)

    done = given.writer("targets remove", who, _version(if_match), needed, make)
    given.posted.pop(id, None)
    return _told(done)


@router.put("/targets/{id}/mode")
def mode(given: Given, who: Who, id: Id, new: NewMode, if_match: IfMatch = None) -> Changed:
    """Has a target enforced, watched in shadow, or switched off. Again, it changes nothing."""

    def make(report: Report) -> Bundle:
        return set_mode(given.held.folder, [id], new.mode)

    def needed(bundle: Bundle) -> bool:
        return record_of(bundle, id).mode != new.mode

    return _told(given.writer("targets mode", who, _version(if_match), needed, make))


@router.post("/calibrate")
def calibrate(given: Given, who: Who, new: Traffic, if_match: IfMatch = None) -> Recalibrated:
    """Chooses the thresholds anew from traffic that must not be flagged.

    It needs an `If-Match`, for the same traffic twice would count twice.
    """
    expected = _version(if_match)
    if expected is None:
        raise WantingError('Send If-Match: "VERSION": the version that is to be calibrated.')
    found: list[Recalibration] = []

    def make(report: Report) -> Bundle:
        report(f"scoring {len(new.traffic)} prompts")
        with posted("traffic", [{"text": text} for text in new.traffic]) as path:
            folder, rate = given.held.folder, new.max_false_positive_rate
            found.append(recalibrate(folder, path, folder, rate, new.only_traffic))
        return found[0].bundle

    done = given.writer("calibrate", who, expected, lambda bundle: True, make)
    told = found[0].to_dict()
    return Recalibrated(
        changed=done.changed, before=done.before, version=done.after,
        rows=told["rows"], targets=told["targets"],
    )  # fmt: skip


def record_of(bundle: Bundle, id_: str) -> TargetRecord:
    """Returns a target.

    Raises:
        AbsentError: There is none of this id.
    """
    for one in bundle.manifest.targets:
        if one.id == id_:
            return one
    raise AbsentError(f"There is no target {id_!r}.")


def _version(if_match: str | None) -> str | None:
    """The version that a change is meant for.

    Raises:
        GuardError: It is no version.
    """
    if if_match is None or if_match.strip() == "*":
        return None
    version = if_match.strip()
    if len(version) < 2 or version[0] != '"' or version[-1] != '"' or '"' in version[1:-1]:
        raise GuardError('If-Match: give one version in quotes, as ETag has it: "VERSION"')
    return version[1:-1]


def _told(change: Change) -> Changed:
    return Changed(changed=change.changed, before=change.before, version=change.after)


def _state(bundle: Bundle, target: TargetRecord) -> TargetState:
    told = summary(bundle, target)
    return TargetState(
        id=target.id,
        reason=target.reason,
        mode=target.mode,
        provisional=target.provisional,
        detectors=[
            Detector(kind=stage.kind, threshold=stage.threshold, floor=stage.floor)
            for stage in target.stages
        ],
        interventions=told["interventions"],
        doubtful=None if target.doubtful is None else [one.kind for one in target.doubtful],
        output=told["output"],
        tenants=told["tenants"],
        on_hit=target.output.on_hit if target.output else None,
        forget_rows=told["forget_rows"],
        retain_rows=told["retain_rows"],
        detected=target.detection.get("detected"),
        neighbours_flagged=target.detection.get("neighbours_flagged"),
        everyday_flagged=target.detection.get("everyday_flagged"),
        everyday=target.detection.get("everyday"),
    )


def _addable(given: Services, bundle: Bundle) -> tuple[list[str], str | None]:
    known = {one.id for one in bundle.manifest.targets if not one.provisional}
    try:
        return [one.id for one in load_policy(given.policy).targets if one.id not in known], None
    except GuardError as error:
        return [], str(error)
