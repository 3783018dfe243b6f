"""A finished answer, read by the checks of a bundle: what `guard check --answer` shows."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guard.errors import OutputError
from guard.manifest import Mode
from guard.output.base import Hit
from guard.output.outputs import Rule

if TYPE_CHECKING:
    from guard.guard import Guard

_MODES: tuple[Mode, ...] = ("enforce", "shadow")


@dataclass(frozen=True)
class Found:
    """A check's first hit in an answer.

    Attributes:
        hit: What it is.
        rule: What happens then.
    """

    hit: Hit
    rule: Rule

    @property
    def action(self) -> str:
        """What is done first; ``allow`` where the target is in shadow mode."""
        return self.rule.on_hit if self.rule.mode == "enforce" else "allow"

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON form: places, never the text."""
        return {
            "check": self.hit.check,
            "target": self.hit.target,
            "start": self.hit.start,
            "end": self.hit.end,
            "mode": self.rule.mode,
            "on_hit": self.rule.on_hit,
        }


def read_finished(
    guard: "Guard",
    answer: str,
    question: str = "",
    *,
    prompt: str | None = None,
    doubted: Collection[str] | None = None,
) -> list[Found]:
    """Reads an answer as the engine would have, had it been written under this bundle.

    Args:
        guard: The guard.
        answer: The answer.
        question: What it is an answer to; answers to one that comes near to a target are weighed.
        prompt: All that was read before it; the question alone without.
        doubted: Targets that the prompt is suspected of; those of the question without.

    Returns:
        The first hit of each check, those of shadow targets apart; the first in the answer first.

    Raises:
        OutputError: The bundle checks no answers, or a check asks for the same over and over.
    """
    if not guard.output:
        raise OutputError(
            f"{guard.bundle.path}: checks no answers; give a target an 'output' in the policy, "
            "and compile it again"
        )
    if doubted is None:
        doubted = guard.doubted(guard.decide(question) if question else None)
    read = question if prompt is None else prompt
    found = []
    for mode in _MODES:
        for kind, reader in guard.output.start(question, read, doubted, mode):
            asked: set[Any] = set()
            reading = reader.read(answer, done=True)
            while reading.claims:
                if not asked.isdisjoint(reading.claims):
                    raise OutputError(f"check {kind!r} asks for what it was told")
                asked.update(reading.claims)
                vectors = guard.encoder([claim.text for claim in reading.claims])
                for claim, vector in zip(reading.claims, vectors, strict=True):
                    reader.weigh(claim, vector)
                reading = reader.read(answer, done=True)
            if reading.hit is not None:
                found.append(Found(reading.hit, guard.output.rules[reading.hit.target]))
    return sorted(found, key=lambda one: (one.action == "allow", one.hit.start, one.hit.check))
