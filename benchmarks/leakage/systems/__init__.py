"""What is measured: one file for each kind of system, one line here.

A system answers prompts and, where it can, tells how likely given answers are
(`benchmarks.leakage.systems.base`). It is started for a suite, of which it may use the models and
what is given, nothing else.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from benchmarks.leakage.systems.around import Guardrail, Wrap
from benchmarks.leakage.systems.base import System
from benchmarks.leakage.systems.endpoint import Endpoint
from benchmarks.leakage.systems.filters import input_filter, output_filter
from benchmarks.leakage.systems.guarded import Guarded
from benchmarks.leakage.systems.interventions import CHECKED, INTERVENTIONS
from benchmarks.leakage.systems.judged import keyword, retriever
from benchmarks.leakage.systems.models import Model, Which
from benchmarks.leakage.systems.options import Options, Remote
from benchmarks.leakage.systems.prefix import prefixed
from benchmarks.leakage.systems.published import PUBLISHED
from benchmarks.leakage.systems.weights import WEIGHTS, Weights
from guard.errors import GuardError

__all__ = ["ENDPOINT", "MODELS", "SYSTEMS", "Options", "Remote", "System", "chosen"]

MODELS: tuple[Which, ...] = ("target", "retrained", "base")
ENDPOINT = "endpoint"

_GUARDRAILS: Mapping[str, tuple[Wrap, bool]] = {  # and whether they go by names
    "prompt prefix": (prefixed, True),
    "input filter": (input_filter, True),
    "output filter": (output_filter, True),
    "keyword filter": (keyword, True),
    "retriever, after CURaTE": (retriever, False),
}


def _model(name: Which, options: Options) -> System:
    return Model(name, options.engine)


def _guarded(name: str, options: Options) -> System:
    return Guarded(name, INTERVENTIONS[name], options=options)


def _checked(name: str, options: Options) -> System:
    checked = CHECKED[name]
    return Guarded(name, checked.intervene, checked.detect, options, checked.output)


def _guardrail(name: str, options: Options) -> System:
    wrap, named = _GUARDRAILS[name]
    return Guardrail(name, wrap, named, options)


def _published(name: str, options: Options) -> System:
    published = PUBLISHED[name]
    return Guarded(name, published.intervene, published.detect, options, notes=published.differs)


def _weights(name: str, options: Options) -> System:
    edited, relearned = WEIGHTS[name]
    return Weights(name, edited, relearned, options)


def _endpoint(options: Options) -> System:
    if options.remote is None:
        raise GuardError("endpoint: give its address and what it calls the model")
    return Endpoint(options.remote, ENDPOINT)


# In the order in which results show them.
SYSTEMS: Mapping[str, Callable[[Options], System]] = {
    **{name: partial(_model, name) for name in MODELS},
    **{name: partial(_guarded, name) for name in INTERVENTIONS},
    **{name: partial(_checked, name) for name in CHECKED},
    **{name: partial(_weights, name) for name in WEIGHTS},
    **{name: partial(_guardrail, name) for name in _GUARDRAILS},
    **{name: partial(_published, name) for name in PUBLISHED},
    ENDPOINT: _endpoint,
}


def chosen(names: Sequence[str], options: Options) -> list[System]:
    """Returns systems by name; all but the endpoint where none is named.

    Raises:
        GuardError: There is no such system.
    """
    from guard.registry import nearest

    for name in names:
        if name not in SYSTEMS:
            raise GuardError(f"no system {name!r}{nearest(name, SYSTEMS)}")
    every = [name for name in SYSTEMS if name != ENDPOINT or options.remote is not None]
    return [SYSTEMS[name](options) for name in (names or every)]
