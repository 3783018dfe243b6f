"""Attacks on edited weights, where whoever attacks holds them: no prompts, but other models."""

from benchmarks.leakage.attacks.weights.base import WeightAttack
from benchmarks.leakage.attacks.weights.quantise import Quantise
from benchmarks.leakage.attacks.weights.relearn import Relearn, divided

__all__ = ["WEIGHT_ATTACKS", "WeightAttack", "divided"]

WEIGHT_ATTACKS: dict[str, WeightAttack] = {
    attack.name: attack for attack in (Quantise(8), Quantise(4), Relearn())
}
