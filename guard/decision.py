"""The decision about one request: plain data, the same in the API, the audit log and the tests."""

import math
from dataclasses import dataclass
from typing import Any

ALLOW = "allow"
NEAR = -0.5  # margin: half way from where everyday prompts lie to the threshold


@dataclass(frozen=True)
class Score:
    """How strongly a text touches a target.

    Attributes:
        value: The detector's score; it flags when it reaches the threshold.
        threshold: The calibrated threshold of that detector for that target.
        detector: The detector's kind.
        span: Where the evidence is, in characters of the viewed text (start, end).
        scale: How far an everyday prompt scores below the threshold, on the average.
        sure: A score that reaches it is higher than that of every row that must be kept, each
            scored when it was held out.
        weight: How much to intervene, from 0 to 1, where the detector can tell.
    """

    value: float
    threshold: float
    detector: str
    span: tuple[int, int] | None = None
    scale: float = 1.0
    sure: float = -math.inf
    weight: float = 1.0

    @property
    def flags(self) -> bool:
        """Whether the score reaches its threshold."""
        return self.value >= self.threshold

    @property
    def doubtful(self) -> bool:
        """Whether it flags, yet some row that must be kept scores as high."""
        return self.flags and self.value < self.sure

    @property
    def margin(self) -> float:
        """How far above its threshold the score lies; -1 is where everyday prompts lie.

        Scores of different detectors can be compared by it.
        """
        return (self.value - self.threshold) / self.scale


@dataclass(frozen=True)
class Finding:
    """A flagged target.

    Attributes:
        target: The target's id.
        score: The score that flagged it.
        mode: The target's mode, ``shadow`` or ``enforce``.
        action: The kind of its intervention.
    """

    target: str
    score: Score
    mode: str
    action: str


@dataclass(frozen=True)
class Decision:
    """What the guard decided about one request.

    Attributes:
        findings: The flagged targets, the one that decides the action first.
        bundle: Version of the bundle that decided.
        scores: The best score of every target that was scored, flagged or not.
        tenant: Whom it was decided for; None for whoever is no tenant.
    """

    findings: tuple[Finding, ...]
    bundle: str
    scores: tuple[tuple[str, Score], ...] = ()
    tenant: str | None = None

    @property
    def flagged(self) -> bool:
        """Whether any target was noticed, in shadow mode too."""
        return bool(self.findings)

    @property
    def enforced(self) -> tuple[Finding, ...]:
        """The findings that the answer must be changed for."""
        return tuple(finding for finding in self.findings if finding.mode == "enforce")

    @property
    def doubted(self) -> frozenset[str]:
        """The targets that the text comes near to, flagged or not: answers to it need care."""
        return frozenset(target for target, score in self.scores if score.margin >= NEAR)

    @property
    def action(self) -> str:
        """What is done: ``allow``, or the kind of the strictest enforced intervention."""
        return self.enforced[0].action if self.enforced else ALLOW

    @property
    def mode(self) -> str | None:
        """The mode of the finding that decides; None when nothing was flagged."""
        return self.findings[0].mode if self.findings else None

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON form that ``guard check --json`` prints."""
        return {
            "flagged": self.flagged,
            "targets": [
                {
                    "id": finding.target,
                    "score": round(finding.score.value, 6),
                    "threshold": round(finding.score.threshold, 6),
                    "detector": finding.score.detector,
                }
                for finding in self.findings
            ],
            "action": self.action,
            "mode": self.mode,
            "bundle": self.bundle,
            **({} if self.tenant is None else {"tenant": self.tenant}),
        }
