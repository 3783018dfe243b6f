"""What an audit says of a target: since when, how, how often, changed by whom."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from guard.audit.record import Record, Sealer, instant
from guard.audit.verify import Verdict, Verifier
from guard.errors import AuditError
from guard.events import FAILED, OPENED

Span = list[str]  # when first, when last

# What of a change may be nothing, which a record leaves out: a new target has no mode before.
_OPEN = ("before", "mode_before", "mode")

_ENFORCE = "enforce"


@dataclass
class Told:
    """What the records tell of one target.

    Attributes:
        changes: What was changed, from which mode to which, when, by whom.
        noticed: How many requests touched it, by mode, what was done, and whose they were.
        hits: How many answers told of it, by check and what was done.
        versions: The versions that decided or were served, by when.
        reasons: The policy's reasons for it, in the course of time.
    """

    changes: list[dict[str, Any]] = field(default_factory=list)
    noticed: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    hits: Counter[tuple[str, str]] = field(default_factory=Counter)
    versions: dict[str, Span] = field(default_factory=dict)
    reasons: set[str] = field(default_factory=set)

    def seen(self, bundle: object, at: str) -> None:
        """Notes that a version was there."""
        span = self.versions.setdefault(str(bundle), [at, at])
        span[:] = [min(span[0], at), max(span[1], at)]


@dataclass
class History:
    """What the records of an audit tell, target by target.

    Attributes:
        targets: Of each target.
        served: When which version was served, with the targets' modes, in the order of time.
        requests: How many were decided, by what was done.
        lost: How many records were lost, as far as was noted.
        tenants: Target to tenant to mode, as what serves last said it.
    """

    targets: defaultdict[str, Told] = field(default_factory=lambda: defaultdict(Told))
    served: list[tuple[str, str, Mapping[str, str]]] = field(default_factory=list)
    requests: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    tenants: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    _last: str = ""

    def take(self, record: Record) -> None:
        """Takes a record."""
        body, at = record.body, record.at
        if record.kind == "serving":
            self.served.append((at, body["bundle"], body.get("modes", {})))
            if at >= self._last:
                self._last, self.tenants = at, body.get("tenants", {})
            for target in body.get("modes", {}):
                self.targets[target].seen(body["bundle"], at)
            for target, reason in body.get("reasons", {}).items():
                self.targets[target].reasons.add(reason)
        elif record.kind == "changed" and "target" in body:
            told = self.targets[body["target"]]
            told.changes.append({"at": at, **dict.fromkeys(_OPEN), **body})
            told.reasons |= {body["reason"]} if "reason" in body else set()
        elif record.kind == "decided":
            for noticed in body.get("targets", ()):
                wrong = body["action"] in (FAILED, OPENED)
                action = body["action"] if wrong else noticed["action"]
                told = self.targets[noticed["target"]]
                told.noticed[noticed["mode"], action, body.get("tenant", "")] += 1
                told.seen(body["bundle"], at)
        elif record.kind == "hit":
            self.targets[body["target"]].hits[body["check"], body["action"]] += 1
            self.targets[body["target"]].seen(body["bundle"], at)
        elif record.kind == "tally":
            self.requests.update(body)
        elif record.kind == "lost":
            self.lost += body["records"]


@dataclass(frozen=True)
class Account:
    """The answer to "show that it is enforced".

    Attributes:
        asked: The reason or target that was asked for.
        made: When this was made.
        targets: Of each target what `_account` returns.
        history: What all records tell.
        verdict: Whether the audit is as it was written.
        leakage: What was measured, if anything was given; see `guard.audit.leakage`.
    """

    asked: str
    made: str
    targets: Mapping[str, Mapping[str, Any]]
    history: History
    verdict: Verdict
    leakage: Mapping[str, Any] | None = None

    @property
    def intact(self) -> bool:
        """Whether the audit is as it was written."""
        return self.verdict.intact

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON form."""
        verdict = self.verdict.to_dict()
        return {
            "asked": self.asked,
            "made": self.made,
            "targets": dict(self.targets),
            "requests": dict(self.history.requests),
            "lost_records": self.history.lost,
            "audit": {key: verdict[key] for key in ("intact", "problems", "heads")},
            "leakage": self.leakage,
        }

    def markdown(self) -> str:
        """Returns it for people to read."""
        from guard.audit.page import markdown

        return markdown(self)


def export(
    folder: Path,
    sealer: Sealer,
    *,
    reason: str | None = None,
    target: str | None = None,
    leakage: Mapping[str, Any] | None = None,
) -> Account:
    """Answers for the targets of a reason, or for one target.

    Args:
        folder: The audit.
        sealer: Checks its hashes.
        reason: The policy's reason.
        target: A target's id.
        leakage: What was measured.

    Raises:
        AuditError: There is no audit, or nothing of this in it.
    """
    verifier, history = Verifier(folder, sealer), History()
    for record in verifier.records():
        try:
            history.take(record)
        except (KeyError, TypeError, AttributeError):
            continue  # it was made by somebody else: that the hash is wrong is said below
    history.served.sort(key=lambda one: one[0])
    if target is not None:
        ids = [target] if target in history.targets else []
    else:
        ids = sorted(id_ for id_, told in history.targets.items() if reason in told.reasons)
    if not ids:
        what = f"target {target!r}" if target is not None else f"reason {reason!r}"
        known = sorted({one for told in history.targets.values() for one in told.reasons})
        known = sorted(history.targets) if target is not None else known
        raise AuditError(f"{folder}: has nothing of {what} (it has: {', '.join(known) or 'none'})")
    targets = {id_: _account(history.targets[id_], id_, history) for id_ in ids}
    asked = target if target is not None else str(reason)
    verdict = verifier.verdict()
    return Account(asked, instant(time.time()), targets, history, verdict, leakage)


def _account(told: Told, target: str, history: History) -> dict[str, Any]:
    modes = [(at, bundle, held.get(target)) for at, bundle, held in history.served]
    enforced = [at for at, _, mode in modes if mode == _ENFORCE]
    since = None
    for at, _, mode in modes:
        since = (since or at) if mode == _ENFORCE else None
    last = modes[-1][2] if modes else None
    return {
        "reasons": sorted(told.reasons),
        "mode": last or "not served",
        "enforced_since": since,
        "first_enforced": enforced[0] if enforced else None,
        "modes": _changes_of(modes),
        "bundles": [
            {"version": version, "first": first, "last": end}
            for version, (first, end) in sorted(told.versions.items(), key=lambda one: one[1])
        ],
        "tenants": history.tenants.get(target, {}),
        "requests": [
            {"mode": mode, "action": action, **({"tenant": whose} if whose else {}), "count": count}
            for (mode, action, whose), count in sorted(told.noticed.items())
        ],
        "answers": _counts(told.hits, "check"),
        "changes": sorted(told.changes, key=lambda change: change["at"]),
    }


def _changes_of(modes: Iterable[tuple[str, str, str | None]]) -> list[dict[str, Any]]:
    """When the mode became another one."""
    found: list[dict[str, Any]] = []
    for at, bundle, mode in modes:
        if (found[-1]["mode"] if found else None) != mode:
            found.append({"at": at, "mode": mode, "bundle": bundle})
    return found


def _counts(counter: Counter[tuple[str, str]], first: str) -> list[dict[str, Any]]:
    return [
        {first: one, "action": action, "count": count}
        for (one, action), count in sorted(counter.items())
    ]
