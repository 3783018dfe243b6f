"""Every intervention, and sensible combinations: what a policy says under ``intervene``.

Strengths are defaults, or their sources'; none is tuned on what is measured. The detector is the
default one, so that systems differ in what they do, not in what they notice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from benchmarks.leakage.systems.attacked import Attacked
from benchmarks.leakage.systems.guarded import Choice
from benchmarks.leakage.systems.parts import Difference, SoftPrompt, Subtracted
from benchmarks.leakage.systems.retraining import Retrained

INTERVENTIONS: Mapping[str, Sequence[Choice]] = {
    "refuse": [{"kind": "refuse"}],
    "corrupt": [{"kind": "corrupt"}],
    "corrupt, entities": [{"kind": "corrupt", "tokens": "entities"}],
    "instruct": [{"kind": "instruct"}],
    "penalize": [{"kind": "penalize"}],
    "corrupt and penalize": [{"kind": "corrupt"}, {"kind": "penalize"}],
    "soft prompt": [SoftPrompt()],
    "offset": [Difference()],
    "adapter, subtracted": [Subtracted()],
    "adapter, contrasted": [Subtracted(contrast=True)],
    "adapter, retrained": [Retrained()],
    "adapter and penalize": [Subtracted(), {"kind": "penalize"}],
    "adapter, int8": [Attacked(Subtracted(), "quantise: int8")],
    "adapter, int4": [Attacked(Subtracted(), "quantise: int4")],
}

# Every check, at its default strength.
_OUTPUT: Mapping[str, Any] = {"check": ["exact", "verbatim", "semantic"], "on_hit": "rollback"}


@dataclass(frozen=True)
class Checked:
    """Answers that are checked.

    Attributes:
        intervene: What is done with a flagged prompt besides.
        detect: ``off`` where no prompt is judged: the output check alone.
        output: How answers are checked.
    """

    intervene: Sequence[Choice] = ({"kind": "refuse"},)
    detect: Literal["off"] | None = None
    output: Mapping[str, Any] = field(default_factory=lambda: _OUTPUT)


CHECKED: Mapping[str, Checked] = {
    "output check alone": Checked(detect="off"),
    "corrupt, output check": Checked([{"kind": "corrupt"}]),
    "adapter, output check": Checked([Subtracted(contrast=True)]),
}
