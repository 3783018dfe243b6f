"""Steerings: what is done to the logits of one request, token by token, in the engine process.

An intervention writes a plan (`Request.steer`); the engine's sampler makes of it a steering of the
same kind. To add one, write a file with a subclass of `guard.steering.base.Steering` and register
it here.
"""

from typing import TYPE_CHECKING

from guard.registry import Registry

if TYPE_CHECKING:
    from guard.steering.base import Steering

# The engine's sampler as vLLM is told of it: a name, so that vLLM need not be imported.
PROCESSOR = "guard.engine.compat.sampler:GuardProcessor"

STEERINGS: "Registry[Steering]" = Registry(
    "steering",
    "guard.steerings",
    {
        "penalize": "guard.steering.penalize:Penalize",
        "offset": "guard.steering.offset:Offset",
        "force": "guard.steering.force:Force",
        "replay": "guard.steering.replay:Replay",
    },
)
