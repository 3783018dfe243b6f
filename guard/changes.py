"""What choosing thresholds anew has changed, for people and for programs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from guard.bundle import Bundle

_NAMED = 5  # rows that a line of text names


@dataclass(frozen=True)
class Threshold:
    """What became of one stage's threshold.

    Attributes:
        detector: The stage's kind.
        before: The threshold that it had.
        after: The one that it has now.
        requested: The false-positive rate that was asked for.
        bound: The rate that the everyday prompts vouch for.
        upper: The rate that it does not pass with probability 0.95.
    """

    detector: str
    before: float
    after: float
    requested: float
    bound: float
    upper: float


@dataclass(frozen=True)
class Change:
    """What became of one target.

    Attributes:
        target: Its id.
        thresholds: One a stage that flags.
        before: Rows of the traffic that its thresholds flagged so far, from 1.
        after: Rows that they flag now.
        allowed: How many rows of this traffic the requested rate amounts to.
        detected_before: Share of the held-out forget rows that were flagged so far.
        detected_after: Share of them that is flagged now.
    """

    target: str
    thresholds: tuple[Threshold, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    allowed: float
    detected_before: float | None
    detected_after: float | None

    @property
    def drifted(self) -> bool:
        """Whether the thresholds so far flag more of this traffic than was asked for."""
        return len(self.before) > self.allowed

    def lines(self) -> list[str]:
        """Returns it for people to read: rows by number, never what they say."""
        said = [
            f"{self.target}: {t.detector} threshold {t.before:.4f} -> {t.after:.4f} "
            f"(asked {t.requested:g}, bound {t.bound:.2g}, 95 % limit {t.upper:.2g})"
            for t in self.thresholds
        ]
        said.append(
            f"{self.target}: flagged of the traffic: {named(self.before)} -> {named(self.after)}"
        )
        if self.detected_before is not None and self.detected_after is not None:
            said.append(
                f"{self.target}: flagged of the held-out forget rows: "
                f"{self.detected_before:.1%} -> {self.detected_after:.1%}"
            )
        if self.drifted:
            said.append(
                f"{self.target}: FINDING: the thresholds so far flag {named(self.before)} of "
                f"this traffic, more than the {self.allowed:.3g} that the requested rate amounts "
                "to; see whether they are about the target before you use the new bundle"
            )
        return said


@dataclass(frozen=True)
class Recalibration:
    """A bundle with new thresholds, and how it differs.

    Attributes:
        bundle: The new bundle.
        before: Version of the one that it comes from.
        rows: Different prompts in the traffic.
        changes: One a target.
    """

    bundle: Bundle
    before: str
    rows: int
    changes: tuple[Change, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON form that ``guard calibrate --json`` prints."""
        targets = [{**asdict(change), "drifted": change.drifted} for change in self.changes]
        versions = {"before": self.before, "bundle": self.bundle.version}
        return {**versions, "rows": self.rows, "targets": targets}


def named(rows: Sequence[int]) -> str:
    """Returns how many rows they are, and where the first of them stand."""
    if not rows:
        return "0"
    more = ", …" if len(rows) > _NAMED else ""
    word = "row" if len(rows) == 1 else "rows"
    return f"{len(rows)} ({word} {', '.join(map(str, rows[:_NAMED]))}{more})"
