"""Interventions: a request and the findings in, an edited request or a finished answer out.

To add one, write a file with a subclass of `guard.interventions.base.Intervention` and
register it here. Other distributions register theirs in the entry-point group
``guard.interventions``.
"""

from typing import TYPE_CHECKING

from guard.registry import Registry

if TYPE_CHECKING:
    from guard.interventions.base import Intervention

INTERVENTIONS: "Registry[Intervention]" = Registry(
    "intervention",
    "guard.interventions",
    {
        "refuse": "guard.interventions.refuse:Refuse",
        "corrupt": "guard.interventions.corrupt:Corrupt",
        "instruct": "guard.interventions.instruct:Instruct",
        "soft_prompt": "guard.interventions.soft_prompt:SoftPrompt",
        "penalize": "guard.interventions.penalize:Penalize",
        "adapter": "guard.interventions.adapter:Adapt",
        "offset": "guard.interventions.offset:Offset",
    },
)
