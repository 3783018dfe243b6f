"""Ways of asking around a detector. A new one is one entry in the file of its family."""

from benchmarks.evasions import characters, encodings, framing, wording
from benchmarks.evasions.base import Evasion

EVASIONS: dict[str, Evasion] = {
    evasion.name: evasion
    for family in (characters, encodings, framing, wording)
    for evasion in family.EVASIONS
}

__all__ = ["EVASIONS", "Evasion"]
