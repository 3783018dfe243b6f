"""What may leave: checks of the answer as it is written, the second line behind the detectors.

To add a check, write a file with a subclass of `guard.output.base.Check` and register it here.
"""

from typing import TYPE_CHECKING

from guard.registry import Registry

if TYPE_CHECKING:
    from guard.output.base import Check

CHECKS: "Registry[Check]" = Registry(
    "check",
    "guard.checks",
    {
        "exact": "guard.output.exact:Exact",
        "verbatim": "guard.output.verbatim:Verbatim",
        "semantic": "guard.output.semantic:Semantic",
    },
)
