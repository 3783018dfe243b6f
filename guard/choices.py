"""Choices of a policy: a kind of an extension point, with that kind's own options beside it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from guard.detectors import DETECTORS
from guard.errors import GuardError
from guard.interventions import INTERVENTIONS
from guard.options import Strict


def _check_choice(value: Any, default: str, registry: Any) -> Any:
    if isinstance(value, BaseModel):
        return value
    if not isinstance(value, Mapping):
        raise PydanticCustomError("choice", "give a mapping with a 'kind'")
    options = {key: content for key, content in value.items() if key != "kind"}
    kind = value.get("kind", default)
    if not isinstance(kind, str):
        raise PydanticCustomError("choice", "'kind' must be a text", {"field": "kind"})
    try:
        cls = registry.get(kind)
    except GuardError as error:
        raise PydanticCustomError("choice", "{why}", {"why": str(error), "field": "kind"}) from None
    if not getattr(cls, "flags", True):
        why = f"{kind!r} only dismisses; use 'cascade', which has it as a stage"
        raise PydanticCustomError("choice", "{why}", {"why": why, "field": "kind"})
    try:
        checked = cls.Options.model_validate(options)
    except ValidationError as error:
        first = error.errors()[0]
        field = first.get("ctx", {}).get("field") or ".".join(str(part) for part in first["loc"])
        raise PydanticCustomError(
            "choice", "{why}", {"why": first["msg"], "field": field or "kind"}
        ) from None
    return {"kind": kind, **checked.model_dump(exclude_unset=True)}


class Choice(BaseModel):
    """A kind of an extension point, with the options of that kind beside it."""

    model_config = ConfigDict(extra="allow", frozen=True)
    kind: str

    @property
    def options(self) -> dict[str, Any]:
        """The fields beside ``kind``."""
        return dict(self.model_extra or {})

    def there(self, folder: Path) -> Self:
        """The same choice, the paths in its options from a folder on."""
        paths = {name: folder / o for name, o in self.options.items() if isinstance(o, Path)}
        return self.model_copy(update=paths)


class DetectChoice(Choice):
    """How a target is noticed: a detector kind and its options."""

    kind: str = "cascade"

    @model_validator(mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        return _check_choice(value, "cascade", DETECTORS)


class InterveneChoice(Choice):
    """What is done when a target is noticed: an intervention kind and its options."""

    kind: str = "refuse"

    @model_validator(mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        return _check_choice(value, "refuse", INTERVENTIONS)


def _choices(value: Any, path: tuple[str | int, ...]) -> list[InterveneChoice]:
    """One intervention or a list of them; `path` says where in the field it stands."""
    listed = isinstance(value, list | tuple)
    if listed and not value:
        raise PydanticCustomError("intervene", "give at least one intervention", {"path": path})
    found = []
    for n, one in enumerate(value if listed else [value]):
        try:
            choice = _check_choice(one, "refuse", INTERVENTIONS)
        except PydanticCustomError as error:
            where = (*path, n) if listed else path
            context = {**(error.context or {}), "path": where}
            raise PydanticCustomError(
                "choice", "{why}", {"why": error.message(), **context}
            ) from None
        found.append(InterveneChoice.model_validate(choice))
    adapters = [n for n, one in enumerate(found) if one.kind == "adapter"]
    if len(adapters) > 1:
        why = "a request has one adapter; the second would do nothing, so take it out"
        where = (*path, adapters[1])
        raise PydanticCustomError("intervene", "{why}", {"why": why, "path": where})
    return found


class Intervene(Strict):
    """What is done when a target is noticed: one intervention, a list of them, or two such.

    Attributes:
        sure: What is done, in this order.
        doubtful: What is done in their place where the finding leaves doubt: where some row that
            must be kept scores as high. The same without.
    """

    sure: tuple[InterveneChoice, ...] = (InterveneChoice(),)
    doubtful: tuple[InterveneChoice, ...] | None = None

    @model_validator(mode="before")
    @classmethod
    def _forms(cls, value: Any) -> Any:
        if isinstance(value, BaseModel):
            return value
        if not isinstance(value, Mapping) or not value.keys() & {"sure", "doubtful"}:
            return {"sure": _choices(value, ())}
        if wrong := sorted(map(str, value.keys() - {"sure", "doubtful"})):
            why = f"unknown beside 'sure' and 'doubtful': {', '.join(wrong)}"
            raise PydanticCustomError("intervene", "{why}", {"why": why, "field": wrong[0]})
        if "sure" not in value:
            raise PydanticCustomError("intervene", "missing; give it", {"field": "sure"})
        return {band: _choices(choices, (band,)) for band, choices in value.items()}
