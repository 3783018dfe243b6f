"""An intervention or a check on its way: from a policy into a bundle, and out of the bundle."""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy.typing as npt

from guard.bundle import Bundle, array_name
from guard.choices import Choice
from guard.errors import BundleError
from guard.interventions.base import Material
from guard.manifest import FittedRecord
from guard.output.choices import OutputChoice
from guard.parts import Parts
from guard.registry import Registry

Arrays = dict[str, npt.NDArray[Any]]
T = TypeVar("T")


def fit_choice(choice: Choice, material: Material, arrays: Arrays) -> dict[str, Any]:
    """Fits what a policy chose to one target.

    Args:
        choice: The kind and its options.
        material: The target's rows, the encoder and the served model.
        arrays: Takes the arrays that the record refers to, by file name.

    Returns:
        Its record in the manifest.

    Raises:
        GuardError: The material does not do; the message says what would.
    """
    kind = choice.registry.get(choice.kind)
    options = kind.Options.model_validate(choice.options)
    parts = kind.fit(material, options)
    names = {name: array_name(array) for name, array in parts.arrays.items()}
    arrays |= {names[name]: array for name, array in parts.arrays.items()}
    return {
        "kind": choice.kind,
        "options": options.model_dump(mode="json"),
        "data": json.loads(json.dumps(parts.data)),
        "arrays": names,
    }


def fit_output(choice: OutputChoice, material: Material, arrays: Arrays) -> dict[str, Any] | None:
    """Fits what a policy says of a target's answers; see `fit_choice`.

    Returns:
        The record of it in the manifest; None where answers are not checked.
    """
    if not choice.check:
        return None
    checks = [fit_choice(one, material, arrays) for one in choice.check]
    return {**choice.model_dump(exclude={"check"}), "checks": checks}


def read_record(
    record: FittedRecord, registry: Registry[T], arrays: Mapping[str, npt.NDArray[Any]]
) -> tuple[type[T], Any, Parts]:
    """Reads a record of a bundle.

    Args:
        record: The record.
        registry: Where its kind is registered.
        arrays: The bundle's arrays, by file name.

    Returns:
        The class of its kind, the options, and what `fit_choice` made of the target.

    Raises:
        GuardError: The kind is not installed.
        ValueError: The options are not those of the kind; KeyError: it has no such array.
    """
    kind: Any = registry.get(record.kind)
    options = kind.Options.model_validate(record.options)
    held = {name: arrays[file] for name, file in record.arrays.items()}
    return kind, options, Parts(record.data, held)


def unusable(bundle: Bundle, error: Exception, target: str | None = None) -> BundleError:
    """Returns the error that says which bundle, and which target of it, cannot be used, and why."""
    reason = " ".join(str(error).split())  # pydantic takes several lines
    of = f" target {target}:" if target else ""
    return BundleError(f"{bundle.path}:{of} {reason}")
