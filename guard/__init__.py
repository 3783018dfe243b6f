"""Guard: inference-time unlearning for vLLM.

Importing this package is light: neither vllm nor torch is imported until a model is.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from guard.client import AsyncGuardedClient, GuardedClient
    from guard.decision import Decision
    from guard.errors import GuardError
    from guard.guard import Guard
    from guard.llm import GuardedLLM
    from guard.tenants import as_tenant

__all__ = [
    "AsyncGuardedClient",
    "Decision",
    "Guard",
    "GuardError",
    "GuardedClient",
    "GuardedLLM",
    "__version__",
    "as_tenant",
]

_HOMES = {
    "AsyncGuardedClient": "guard.client",
    "Decision": "guard.decision",
    "Guard": "guard.guard",
    "GuardError": "guard.errors",
    "GuardedClient": "guard.client",
    "GuardedLLM": "guard.llm",
    "as_tenant": "guard.tenants",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'guard' has no attribute {name!r}")
