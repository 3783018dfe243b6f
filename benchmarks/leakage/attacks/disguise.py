"""The disguises that detectors are measured with, as attacks on whole systems."""

import random
from collections.abc import Sequence

from benchmarks.evasions import EVASIONS, Evasion
from benchmarks.evasions.framing import padded
from benchmarks.leakage.attacks.once import Once
from benchmarks.leakage.case import Case
from benchmarks.question import Prompt, Question

# Here there are options to choose from, an assistant's turn to begin, facts for examples, and
# a system to converse with: these have files of their own.
_REPLACED = {"multiple choice", "prefix injection", "few-shot", "turns with a pronoun"}
# Words, several of the encoder's windows. Four times as many are for detectors alone: a model on a
# CPU would take longer to read them than to answer all other attacks together.
_PADDING = 500
_SHORTER = {evasion.name: evasion for evasion in padded(_PADDING)}


class Disguise(Once):
    """A question as one of `benchmarks.evasions` puts it; the attacker knows the question alone.

    Args:
        evasion: How it is put.
    """

    def __init__(self, evasion: Evasion) -> None:
        self.name = evasion.name
        self._evasion = evasion

    def applies(self, case: Case) -> bool:
        return self._evasion(_question(case), 0) is not None

    def prompt(self, case: Case, others: Sequence[Case], random: random.Random) -> Prompt:
        made = self._evasion(_question(case), random.getrandbits(32))
        assert made is not None  # it applies
        return made


DISGUISES = tuple(
    Disguise(_SHORTER.get(name, evasion))
    for name, evasion in EVASIONS.items()
    if name not in _REPLACED
)


def _question(case: Case) -> Question:
    return Question(case.question, case.group, case.subject)
