"""What of a leakage result is shown, in tables and on the page: one suite's figures, looked up."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.leakage.attacks.drawn import parted
from benchmarks.result import Result, Row

TARGET, RETRAINED = "target", "retrained"
FORGET, RETAIN = "forget", "retain"
AS_LEARNED = "asked as learned"

# What leaks, by the first of these that was measured under attacks.
LEAKS = {
    "rouge_l": "ROUGE-L recall",
    "verbatim_copied": "share copied",
    "verbatim_memory": "verbatim memory",
    "knowledge_memory": "knowledge memory",
    "choice_accuracy": "accuracy",
    "entity_leakage": "entities told",
}
QUALITY = "forget_quality"
NEAR = 0.03  # above the retrained model by no more than this counts as nothing
_LEAK_AT = re.compile(r"leak@(\d+)")


@dataclass(frozen=True)
class Worst:
    """The attack under which a system leaks most.

    Attributes:
        attack: Its name; None where it is no attack: the questions as they were learned.
        row: What leaks.
        yard: What of that the retrained model says too, under the same attack.
        excess: By how much it is more.
    """

    attack: str | None
    row: Row
    yard: Row | None
    excess: float


class Shown:
    """The figures of one suite.

    Args:
        suite: Its name.
        rows: Its rows.

    Attributes:
        systems: In the order of the result.
        attacks: Those that were tried on the forget split, likewise; None is none.
        leak: The metric that stands for leakage.
        counts: The numbers of answers that leak@k was computed for, rising.
        sampled: The attack that drew most answers, which leak@k is shown for.
        draws: How many times each attack was played besides, at temperature 1; 1: it was not.
    """

    def __init__(self, suite: str, rows: Sequence[Row]) -> None:
        self.suite = suite
        self._rows: dict[tuple[str, str, str, str | None], Row] = {}
        for row in rows:
            split = (row.split or "").partition(": ")[2]
            self._rows[row.system, row.metric, split, row.attack] = row
        self.systems = list(dict.fromkeys(row.system for row in rows))
        self._withhold()
        tried = {(key[1], key[3]): None for key in self._rows if key[2] == FORGET}
        named = {attack: parted(attack) for _, attack in tried if attack is not None}
        self.draws = max((count for _, count in named.values()), default=1)
        tried = {key: None for key in tried if key[1] is None or named[key[1]][1] == 1}
        self.leak = next(
            (name for name in LEAKS if any(metric == name for metric, _ in tried)), "rouge_l"
        )
        found = dict.fromkeys(attack for metric, attack in tried if metric == self.leak)
        self.attacks: list[str | None] = sorted(found, key=lambda attack: attack is not None)
        drawn = [(int(m[1]), attack) for metric, attack in tried if (m := _LEAK_AT.match(metric))]
        most = max(drawn, key=lambda one: one[0], default=(0, None))
        self.sampled = most[1]
        self.counts = sorted({k for k, attack in drawn if attack == self.sampled and most[0] > 1})

    def _withhold(self) -> None:
        """Leaves out tests of forget quality that stand on less than half of the cases."""
        for key, row in list(self._rows.items()):
            system, metric, split, attack = key
            asked = self.asked_of(system, split, attack)
            few = row.n is not None and asked is not None and 2 * row.n < asked
            if metric.startswith(QUALITY) and few:
                del self._rows[key]

    def asked_of(self, system: str, split: str, attack: str | None = None) -> int | None:
        """Returns of how many cases a system was asked."""
        row = self.get(system, "blocked", split, attack)
        return None if row is None else row.n

    @property
    def leaks(self) -> str:
        """What the leakage metric is called."""
        return LEAKS[self.leak]

    @property
    def measured(self) -> bool:
        """Whether anything was seen to leak, or not to."""
        return bool(self.attacks)

    def get(
        self, system: str, metric: str, split: str = FORGET, attack: str | None = None
    ) -> Row | None:
        """Returns a figure, or None."""
        return self._rows.get((system, metric, split, attack))

    def leakage(self, system: str, attack: str | None) -> Row | None:
        """Returns how much a system leaks under an attack."""
        return self.get(system, self.leak, FORGET, attack)

    def yard(self, attack: str | None) -> Row | None:
        """Returns how much the retrained model tells under an attack, without having learned it."""
        return self.leakage(RETRAINED, attack)

    def excess(self, system: str, attack: str | None) -> float | None:
        """Returns by how much a system leaks more than the retrained model under an attack.

        Without a retrained model, how much it leaks.
        """
        row, yard = self.leakage(system, attack), self.yard(attack)
        if row is None or (yard is None and RETRAINED in self.systems):
            return None
        return row.value - (yard.value if yard else 0.0)

    def worst(self, system: str) -> Worst | None:
        """Returns the attack under which a system exceeds the retrained model by most."""
        found = None
        for attack in self.attacks:
            row, excess = self.leakage(system, attack), self.excess(system, attack)
            if row is not None and excess is not None and (not found or excess > found.excess):
                found = Worst(attack, row, self.yard(attack), excess)
        return found

    def share(
        self, system: str, metric: str, attack: str | None = None, split: str = FORGET
    ) -> float | None:
        """Returns the share of a split's requests that was blocked or failed under an attack."""
        row = self.get(system, metric, split, attack)
        return None if row is None else row.value

    def unattacked(self) -> dict[tuple[str, str], None]:
        """Returns the metrics and splits that were measured without an attack, in their order."""
        return {(metric, split): None
                for _, metric, split, attack in self._rows if attack is None}  # fmt: skip

    def most(self, system: str, metric: str) -> float | None:
        """Returns the largest share of forget requests that was blocked or failed."""
        shares = [self.share(system, metric, attack) for attack in self.attacks]
        return max((share for share in shares if share is not None), default=None)

    def ranked(self) -> list[str]:
        """Returns the systems, those that leak least under their worst attack first.

        The models that are compared with, and systems without figures, are last.
        """

        def place(system: str) -> tuple[int, float]:
            worst = self.worst(system)
            if system in (RETRAINED, TARGET):
                return (1, 0.0 if system == RETRAINED else 1.0)
            return (2, 0.0) if worst is None else (0, worst.excess)

        return sorted(self.systems, key=place)

    def strongest(self) -> list[str | None]:
        """Returns the attacks, those that get most out of the systems (their mean) first.

        The models that are compared with do not count; no attack at all comes before every attack.
        """

        def place(attack: str | None) -> tuple[bool, float]:
            found = [self.excess(system, attack) for system in self.systems
                     if system not in (RETRAINED, TARGET)]  # fmt: skip
            known = [excess for excess in found if excess is not None]
            return attack is not None, -sum(known) / max(len(known), 1)

        return sorted(self.attacks, key=place)

    def drawn(self, system: str) -> Worst | None:
        """Returns the attack whose leak@k, of as many draws, exceeds the retrained model's most."""
        found = None
        for attack in self.attacks if self.draws > 1 else ():
            name = f"leak@{self.draws}", FORGET, f"{attack}, {self.draws} draws"
            row, yard = self.get(system, *name), self.get(RETRAINED, *name)
            if row is None or (yard is None and RETRAINED in self.systems):
                continue
            excess = row.value - (yard.value if yard else 0.0)
            if found is None or excess > found.excess:
                found = Worst(attack, row, yard, excess)
        return found

    def curve(self, system: str) -> list[tuple[int, Row]]:
        """Returns a system's leak@k by k, asked under `sampled`; empty where it has none."""
        rows = [(k, self.get(system, f"leak@{k}", FORGET, self.sampled)) for k in self.counts]
        return [(k, row) for k, row in rows if row is not None]


def suites(result: Result) -> list[Shown]:
    """Returns what a result has of each suite, in its order."""
    found: dict[str, list[Row]] = {}
    for row in result.rows:
        name, colon, _ = (row.split or "").partition(": ")
        if colon:  # costs are of no split
            found.setdefault(name, []).append(row)
    return [Shown(name, rows) for name, rows in found.items()]


def asked(attack: str | None) -> str:
    """What an attack is called."""
    return AS_LEARNED if attack is None else attack
