"""The suites: what is forgotten, what is kept, and which metrics apply; one file each.

To add one, write a file with ``load(source: Source) -> Suite`` and register it here. A name may go
on after a colon where a suite has more than one task: ``rwku:2_Confucius``.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from benchmarks.leakage.case import Loaded, Missing, Source, Suite
from benchmarks.leakage.suites import (
    choices,
    connected,
    languages,
    lume,
    muse,
    rwku,
    tofu,
    tofu_mini,
    verbatim,
)
from guard.errors import DataError
from guard.registry import nearest

__all__ = ["SUITES", "Loader", "find", "load"]

Loader = Callable[[Source], Suite]

SUITES: Mapping[str, Loader] = {
    "tofu-mini": tofu_mini.load,
    "tofu-mini-unseen": tofu_mini.load_unseen,
    "tofu-languages": languages.load,
    **{f"tofu-{level}": partial(tofu.load, level=level) for level in tofu.LEVELS},
    **{name: partial(muse.load, name=name) for name in muse.NAMES},
    "rwku": rwku.load,
    "lume": lume.load,
    "lume-privacy": lume.load_privacy,
    "connected": connected.load,
    **{name: partial(choices.load, name=name) for name in choices.NAMES},
    "verbatim": verbatim.load,
}

# Those that go on after a colon.
_TASKS: Mapping[str, Callable[[Source, str], Suite]] = {
    "rwku": lambda source, task: rwku.load(source, target=task),
    "verbatim": lambda source, task: verbatim.load(source, forget=task),
}


def find(name: str) -> Loader:
    """Returns what loads a suite.

    Raises:
        DataError: There is no such suite.
    """
    if name in SUITES:
        return SUITES[name]
    kind, _, task = name.partition(":")
    if kind in _TASKS and task:
        return lambda source: _TASKS[kind](source, task)
    raise DataError(f"no suite {name!r}{nearest(name, SUITES)}")


def load(names: Iterable[str], source: Source) -> Loaded:
    """Loads suites; what cannot be read is told with what would mend it.

    Raises:
        DataError: There is no suite of a name.
    """
    loaded = Loaded()
    for name, loader in [(name, find(name)) for name in names]:
        try:
            suite = loader(source)
        except DataError as error:
            loaded.missing.append(Missing(name, str(error)))
            continue
        loaded.suites.append(suite)
        loaded.missing += suite.missing
    return loaded
