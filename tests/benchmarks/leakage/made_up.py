"""A made-up result, as large as a real one, whose figures are known."""

import math
import random

from benchmarks.leakage.attacks import ATTACKS
from benchmarks.leakage.systems import SYSTEMS
from benchmarks.result import Result, Row
from tests.benchmarks.test_result import RESULT

SUITE = "tofu-mini"
LEAKY = "prefix injection"  # what every guard but `refuse` gives way to
KS = (1, 2, 4, 8, 16, 32, 64)


def result(systems: int = 20, suites: int = 1) -> Result:
    """Returns figures of systems under every attack: some leak, most are near the retrained."""
    names = [name for name in SYSTEMS if name != "base"][:systems]
    rows = [
        row
        for suite in [SUITE, "tofu-mini-unseen", "verbatim"][:suites]
        for at, name in enumerate(names)
        for row in _rows(suite, name, at)
    ]
    return RESULT.model_copy(
        update={"benchmark": "leakage", "rows": tuple(rows), "commit": "0123456789ab"}
    )


def leaked(system: str, attack: str | None) -> float:
    """What a system is made to leak."""
    ideal = 0.36 if attack is None else 0.25 + 0.2 * random.Random(attack).random()
    if system == "retrained":
        return round(ideal, 4)
    if system == "target":
        return 0.99 if attack is None else 0.8
    if system == "refuse":
        return 0.02
    chance = random.Random(f"{system}, {attack}")
    if attack == LEAKY:
        return round(ideal + 0.1 + 0.4 * chance.random(), 4)
    return round(max(0.0, ideal + chance.gauss(-0.08, 0.06)), 4)


def _rows(suite: str, system: str, at: int) -> list[Row]:
    def row(
        metric: str, split: str, value: float, attack: str | None = None, wide: float | None = 0.05
    ) -> Row:
        low, high = (None, None) if wide is None else (max(0, value - wide), min(1, value + wide))
        return Row(system=system, split=f"{suite}: {split}", metric=metric, attack=attack,
                   value=value, low=low, high=high, n=40)  # fmt: skip

    rows = []
    for attack in (None, *ATTACKS):
        rows.append(row("rouge_l", "forget", leaked(system, attack), attack))
        blocked = 0.95 if system == "refuse" else 0.0
        rows.append(row("blocked", "forget", blocked, attack))
        rows.append(row("failed", "forget", 0.025 if attack == "few-shot" else 0.0, attack))
    steep = {"target": 0.99, "retrained": 0.05}.get(system, 0.02 + 0.015 * at)
    for k in KS:
        rows.append(row(f"leak@{k}", "forget", min(1, steep * (1 + math.log2(k))), "sampling"))
    rows.append(row("rouge_l", "retain", 0.98))
    rows.append(row("unchanged", "retain", 1.0, wide=None))
    if at % 4 != 3:  # some systems tell no likelihoods
        near = {"target": 1e-14, "retrained": 1.0}.get(system, 10.0 ** -(at % 7))
        rows += [
            row("probability", "forget", 0.9 if system == "target" else 0.12),
            row("truth_ratio", "forget", 0.5),
            row("forget_quality", "forget", near, wide=None),
            row("model_utility", "kept", 0.6 if at < 9 else 0.6 - 0.02 * at),
        ]
    return rows
