"""The output checks of a bundle, ready to read answers."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from guard.bundle import Bundle
from guard.errors import GuardError
from guard.fitted import read_record, unusable
from guard.manifest import Mode
from guard.output import CHECKS
from guard.output.base import Asked, Check, Known, Reader
from guard.output.choices import Context, OnHit, Then
from guard.steering import PROCESSOR

_STEERED = ("rollback", "switch")


@dataclass(frozen=True)
class Rule:
    """What happens to an answer that tells of a target.

    Attributes:
        target: The target's id.
        mode: The target's mode: ``enforce``, or ``shadow``, where nothing happens.
        on_hit: What is done; see `guard.output.choices.OutputChoice`.
        times: How often one answer is rolled back or switched.
        then: What is done after that.
        answer: The text that ``answer`` ends with.
        context: Whether what the prompt itself brings may be repeated.
    """

    target: str
    mode: Mode
    on_hit: OnHit
    times: int
    then: Then
    answer: str
    context: Context


class Output:
    """The checks of all targets that are not off; falsy where answers are not checked.

    Targets in shadow mode have checks of their own: a reader tells of the first hit in an answer,
    and one that nothing is done about must not stand before one that must not leave.

    Attributes:
        rules: What is done, by target; targets whose answers are not checked have none.
        checks: By mode, one of each kind, which knows all targets of that mode.

    Args:
        bundle: The bundle.
        modes: Target to mode, of those that stand; the bundle's own without.

    Raises:
        BundleError: A kind is not installed, or what was fitted is not what it reads.
    """

    def __init__(self, bundle: Bundle, modes: Mapping[str, Mode] | None = None) -> None:
        if modes is None:
            modes = {target.id: target.mode for target in bundle.manifest.targets}
        self.rules: dict[str, Rule] = {}
        known: dict[Mode, dict[type[Check], list[Known]]] = {}
        for target in bundle.manifest.targets:
            mode = modes.get(target.id, "off")
            if mode == "off" or target.output is None:
                continue
            fields = target.output.model_dump(exclude={"checks"})
            self.rules[target.id] = Rule(target.id, mode, **fields)
            for record in target.output.checks:
                try:
                    kind, options, parts = read_record(record, CHECKS, bundle.arrays)
                except (GuardError, ValueError, KeyError) as error:
                    raise unusable(bundle, error, target.id) from None
                of_kind = known.setdefault(mode, {}).setdefault(kind, [])
                of_kind.append(Known(target.id, options, parts))
        try:
            self.checks: Mapping[Mode, tuple[Check, ...]] = {
                mode: tuple(kind(targets) for kind, targets in kinds.items())
                for mode, kinds in known.items()
            }
        except (GuardError, ValueError, KeyError) as error:
            raise unusable(bundle, error) from None
        self._given = frozenset(
            target for target, rule in self.rules.items() if rule.context == "allow"
        )

    def __bool__(self) -> bool:
        return bool(self.rules)

    @property
    def engine_args(self) -> Mapping[str, Any]:
        """Engine arguments that must hold; see `guard.interventions.base.Intervention`."""
        steered = any(rule.on_hit in _STEERED for rule in self.rules.values())
        return {"logits_processors": [PROCESSOR]} if steered else {}

    def start(
        self, question: str, prompt: str, doubted: Collection[str] = (), mode: Mode = "enforce"
    ) -> list[tuple[str, Reader]]:
        """Begins to read an answer.

        Args:
            question: What the user said last.
            prompt: All that the model reads before its answer.
            doubted: Targets that the prompt is suspected of.
            mode: Of which targets: those whose hits must not leave, or those (``shadow``) whose
                hits are noted only.

        Returns:
            Of each check its kind and a reader.
        """
        asked = Asked(question, prompt, self._given, frozenset(doubted))
        return [(check.kind, check.start(asked)) for check in self.checks.get(mode, ())]
