"""Extension points: a name leads to a class, imported when first asked for.

A new built-in kind is one file and one registered line. Other distributions add kinds through
an entry point of the same group, without touching this repository.
"""

import difflib
from collections.abc import Iterable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Generic, TypeVar, cast

from guard.errors import GuardError

T = TypeVar("T")


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns the hint ``" (did you mean 'x'?)"`` for a misspelt name, or a list of the known."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else f" (known: {', '.join(known)})"


class Registry(Generic[T]):
    """The classes of one extension point, by kind.

    Args:
        what: What is registered, for error messages: "detector".
        group: Entry-point group in which other distributions register theirs.
        builtin: Kind to "module:Class".
    """

    def __init__(self, what: str, group: str, builtin: Mapping[str, str]) -> None:
        self.what = what
        self.group = group
        self._builtin = dict(builtin)
        self._loaded: dict[str, type[T]] = {}

    def kinds(self) -> list[str]:
        """Returns every known kind, built-in and installed."""
        return sorted({*self._builtin, *(point.name for point in entry_points(group=self.group))})

    def get(self, kind: str) -> type[T]:
        """Imports and returns the class of a kind.

        Raises:
            GuardError: The kind is unknown; the message names the nearest known one.
        """
        if kind not in self._loaded:
            self._loaded[kind] = self._load(kind)
        return self._loaded[kind]

    def _load(self, kind: str) -> type[T]:
        if kind in self._builtin:  # a built-in kind cannot be replaced from outside
            module, _, name = self._builtin[kind].partition(":")
            return cast(type[T], getattr(import_module(module), name))
        for point in entry_points(group=self.group):
            if point.name == kind:
                return cast(type[T], point.load())
        raise GuardError(f"unknown {self.what} {kind!r}{nearest(kind, self.kinds())}")
