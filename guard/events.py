"""What the guard tells of its work: plain data, for the log, the metrics, the spans and the audit.

An event names targets, places and numbers, never a text of a prompt, an answer or a forget set.
Even a score is told roughly: from exact ones and a target's vectors, prompts could be guessed.
"""

import hashlib
import math
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from guard.decision import Decision, Finding

FAILED = "failed"  # a request that could not be judged was refused
OPENED = "opened"  # … and was answered unguarded (policy `on_error: open`)

_STEP = 0.25  # how roughly a margin is told
_MOST = 4.0
_NAME = re.compile(r"[A-Za-z0-9._:-]{1,128}")


@dataclass(frozen=True)
class Noticed:
    """A target that a prompt was found to touch.

    Attributes:
        target: Its id.
        detector: The kind of the detector that found it.
        mode: The target's mode, ``shadow`` or ``enforce``.
        action: What is done about it; where the mode is ``shadow``, what would be.
        margin: How far the score lies above its threshold, rounded down to quarters of how far
            everyday prompts lie below it, and at most 4.
        doubtful: Whether some row that must be kept scores as high.
    """

    target: str
    detector: str
    mode: str
    action: str
    margin: float
    doubtful: bool

    @classmethod
    def of(cls, finding: Finding) -> "Noticed":
        """What is told of a finding."""
        score, margin = finding.score, finding.score.margin
        steps = math.floor(min(max(margin, 0.0), _MOST) / _STEP) if margin == margin else 0
        return cls(
            finding.target, score.detector, finding.mode, finding.action, steps * _STEP,
            score.doubtful,
        )  # fmt: skip


@dataclass(frozen=True)
class Decided:
    """A request was decided about.

    Attributes:
        request: The request's name; see `request_name`.
        bundle: The version of the bundle that decided.
        action: What is done: ``allow``, the kind of the intervention, ``failed`` or ``opened``.
        targets: What was noticed, the one that decides the action first.
        seconds: How long each stage took.
        error: The class of what went wrong, where the action is ``failed`` or ``opened``.
        tenant: Whose request it is, where tenants are told apart.
        time: When, in seconds since 1970.
    """

    request: str
    bundle: str
    action: str
    targets: tuple[Noticed, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None
    tenant: str | None = None
    time: float = field(default_factory=time.time)

    @classmethod
    def of(cls, request_id: str, decision: Decision, seconds: Mapping[str, float]) -> "Decided":
        """What is told of a decision."""
        targets = tuple(Noticed.of(finding) for finding in decision.findings)
        return cls(
            request_name(request_id), decision.bundle, decision.action, targets, dict(seconds),
            tenant=decision.tenant,
        )  # fmt: skip


@dataclass(frozen=True)
class Hit:
    """An output check found in an answer what must not leave.

    Attributes:
        request: The request's name.
        bundle: The version of the bundle that checks.
        answer: The number of the answer among those to the request.
        check: The kind of the check.
        target: The target's id.
        position: Where the hit begins, in characters of the answer.
        action: What is done; ``shadow`` where it is noted only.
        time: When, in seconds since 1970.
    """

    request: str
    bundle: str
    answer: int
    check: str
    target: str
    position: int
    action: str
    time: float = field(default_factory=time.time)

    @property
    def enforced(self) -> bool:
        """Whether the answer is changed."""
        return self.action != "shadow"


@dataclass(frozen=True)
class Unchecked:
    """An answer could not be checked.

    Attributes:
        request: The request's name.
        bundle: The version of the bundle that checks.
        answer: The number of the answer.
        action: ``failed``, where it was ended, or ``opened``, where it went out unguarded.
        error: The class of what went wrong.
        time: When, in seconds since 1970.
    """

    request: str
    bundle: str
    answer: int
    action: str
    error: str
    time: float = field(default_factory=time.time)


@dataclass(frozen=True)
class Serving:
    """A process serves a bundle from now on: at its start, and when it was given another.

    Attributes:
        bundle: The version.
        modes: Target to mode.
        reasons: Target to the policy's ``reason``, where it gives one.
        before: The version before; None at the start.
        time: When, in seconds since 1970.
        tenants: Target to tenant to mode, of targets whose mode is not the same for all tenants.
    """

    bundle: str
    modes: Mapping[str, str]
    reasons: Mapping[str, str] = field(default_factory=dict)
    before: str | None = None
    time: float = field(default_factory=time.time)
    tenants: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Refused:
    """A process was given another bundle, which did not prove sound: the one before stays.

    Attributes:
        bundle: The version that was refused; None where it cannot be told.
        stays: The version that stays in force.
        error: The class of what is wrong.
        time: When, in seconds since 1970.
    """

    bundle: str | None
    stays: str
    error: str
    time: float = field(default_factory=time.time)


@dataclass(frozen=True)
class Changed:
    """A target of a bundle was changed.

    Attributes:
        who: Who did it.
        command: With what: ``compile``, ``calibrate``, ``targets add``, …
        what: ``added``, ``removed``, ``mode``, ``tenants`` (for whom it stands, and how),
            ``calibrated`` or ``refitted``; of no target, ``tenants``: who they are, or their keys.
        target: The target's id; empty where no target but the bundle was changed.
        reason: The policy's ``reason`` for the target.
        mode: Its mode now; None where it is gone.
        mode_before: Its mode before; None where it is new.
        before: The bundle's version before; None where there was none.
        after: Its version now.
        time: When, in seconds since 1970.
    """

    who: str
    command: str
    what: str
    target: str
    reason: str
    mode: str | None
    mode_before: str | None
    before: str | None
    after: str
    time: float = field(default_factory=time.time)


Event = Decided | Hit | Unchecked | Serving | Refused | Changed
KINDS: Mapping[type[Event], str] = {
    Decided: "decided",
    Hit: "hit",
    Unchecked: "unchecked",
    Serving: "serving",
    Refused: "refused",
    Changed: "changed",
}


def body(event: Event) -> dict[str, Any]:
    """Returns an event as JSON holds it: durations in whole microseconds, what is empty left out.

    Args:
        event: The event; its time is not in it.
    """
    value = {key: held for key, held in asdict(event).items() if held not in (None, (), {}, "")}
    del value["time"]
    if "seconds" in value:
        taken = value.pop("seconds")
        value["microseconds"] = {stage: round(1e6 * spent) for stage, spent in taken.items()}
    if "targets" in value:
        value["targets"] = list(value["targets"])
    return value


def request_name(request_id: str) -> str:
    """Returns a request's id as it may be written down.

    Clients may choose it (``x-request-id``): what is no plain id could hold a text, or a line
    that looks like another. A hash stands for it then, by which it can still be found.
    """
    if _NAME.fullmatch(request_id):
        return request_id
    return "sha256:" + hashlib.sha256(request_id.encode("utf-8", "replace")).hexdigest()[:32]
