"""Reads what suites are made of, from the folder of the data sets or from the hub."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from adapters.data.files import Record, checked, read_records
from adapters.data.hub import hub_file
from benchmarks.leakage.case import Case, Missing, Models, Source, Suite, some
from benchmarks.leakage.separation import clean
from guard.errors import DataError

T = TypeVar("T")
README = "benchmarks/suites/README.md"


def records(source: Source, folder: str, name: str, hub: str | None = None) -> list[Record]:
    """Reads a file of a data set.

    Args:
        source: Where data sets lie.
        folder: The folder of this one. Where there is none, the hub is asked.
        name: The file, in both.
        hub: ``owner/name`` on the hub, where it is published.

    Raises:
        DataError: It is in neither place; the message says where it can be had.
    """
    place = source.data / folder
    if place.is_dir():
        if not (place / name).is_file():
            where = f"the hub's {hub}" if hub else README
            raise DataError(f"{place / name}: no such file; {where} has or names it")
        return read_records(place / name)
    if hub is None:
        raise DataError(f"{place}: no such folder; {README} says what belongs there")
    try:
        return read_records(hub_file(hub, name))
    except DataError as error:
        raise DataError(f"{place}: no such folder, and {error}") from None


def texts(record: Record, field: str) -> tuple[str, ...]:
    """Returns a field that is a list of texts.

    Raises:
        DataError: It is none.
    """
    found = record.fields.get(field)
    if not isinstance(found, list) or not found:
        raise DataError(f"{record.where}: field {field!r} must be a list of texts")
    return tuple(checked(text, f"{record.where}: field {field!r}") for text in found)


def pairs(rows: Sequence[Record]) -> tuple[tuple[str, str], ...]:
    """Returns questions with their answers."""
    return tuple((row.text("question"), row.text("answer")) for row in rows)


def given_models(source: Source, suite: str) -> Models:
    """Returns the models of a command line, for suites that bring none.

    Raises:
        DataError: None is given.
    """
    if source.target is None:
        raise DataError(
            f"{suite}: give the model that has learned it (--target), and where there is one the "
            "model that never did (--retrained)"
        )
    return Models(source.target, source.retrained, source.base)


class Parts:
    """Parts of a suite that may be missing: those that are, and why."""

    def __init__(self, suite: str) -> None:
        self._suite = suite
        self._missing: list[Missing] = []

    @property
    def missing(self) -> tuple[Missing, ...]:
        """What was not there."""
        return tuple(self._missing)

    def read(self, part: str, read: Callable[[], Iterable[T]]) -> tuple[T, ...]:
        """Reads a part, or notes that it is missing and returns nothing."""
        try:
            return tuple(read())
        except DataError as error:
            self._missing.append(Missing(f"{self._suite}, {part}", str(error)))
            return ()


def finished(suite: Suite, source: Source) -> Suite:
    """Leaves out what is also given to a guard, then what is more than is wanted of a split.

    Raises:
        DataError: Nothing is left of what is forgotten.
    """
    cleaned = clean(suite)
    splits: Mapping[str, tuple[Case, ...]] = {
        name: some(cases, source.size) for name, cases in cleaned.splits.items() if cases
    }
    if not splits.get("forget"):
        raise DataError(f"{suite.name}: holds nothing that is forgotten")
    return replace(cleaned, splits=splits)


def files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Returns the files of a folder with such an ending, by name.

    Raises:
        DataError: There is no such folder, or none of them in it.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; {README} says what belongs there")
    found = sorted(path for path in folder.iterdir() if path.suffix in suffixes)
    if not found:
        raise DataError(f"{folder}: holds no file that ends in {' or '.join(suffixes)}")
    return found
