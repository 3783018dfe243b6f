"""Choices of a policy: a kind of an extension point, with that kind's own options beside it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError, PydanticUndefined

from guard.detectors import DETECTORS
from guard.errors import GuardError
from guard.interventions import INTERVENTIONS
from guard.options import Strict
from guard.registry import Registry


class Choice(BaseModel):
    """A kind of an extension point, with the options of that kind beside it."""

    model_config = ConfigDict(extra="allow", frozen=True)
    registry: ClassVar[Registry[Any]]
    kind: str

    @model_validator(mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        if isinstance(value, BaseModel):
            return value
        return cls.checked(value)

    @classmethod
    def checked(cls, value: Any) -> dict[str, Any]:
        """Returns a choice's fields, its options as their kind wants them.

        Raises:
            PydanticCustomError: It is no choice, or the kind or an option of it is wrong; the
                context names the field.
        """
        if not isinstance(value, Mapping):
            raise PydanticCustomError("choice", "give a mapping with a 'kind'")
        options = {key: content for key, content in value.items() if key != "kind"}
        kind = value.get("kind", cls.model_fields["kind"].default)
        if kind is PydanticUndefined:
            raise PydanticCustomError("choice", "missing; give it", {"field": "kind"})
        if not isinstance(kind, str):
            raise PydanticCustomError("choice", "'kind' must be a text", {"field": "kind"})
        try:
            found = cls.registry.get(kind)
        except GuardError as error:
            context = {"why": str(error), "field": "kind"}
            raise PydanticCustomError("choice", "{why}", context) from None
        if not getattr(found, "flags", True):
            why = f"{kind!r} only dismisses; use 'cascade', which has it as a stage"
            raise PydanticCustomError("choice", "{why}", {"why": why, "field": "kind"})
        try:
            checked = found.Options.model_validate(options)
        except ValidationError as error:
            first = error.errors()[0]
            field = first.get("ctx", {}).get("field") or ".".join(map(str, first["loc"]))
            context = {"why": first["msg"], "field": field or "kind"}
            raise PydanticCustomError("choice", "{why}", context) from None
        return {"kind": kind, **checked.model_dump(exclude_unset=True)}

    @property
    def options(self) -> dict[str, Any]:
        """The fields beside ``kind``."""
        return dict(self.model_extra or {})

    def there(self, folder: Path) -> Self:
        """The same choice, the paths in its options from a folder on."""
        paths = {name: folder / o for name, o in self.options.items() if isinstance(o, Path)}
        return self.model_copy(update=paths)


OFF = "off"  # no prompt is judged for a target


class DetectChoice(Choice):
    """How a target is noticed: a detector kind and its options; ``off``: by answers alone."""

    registry: ClassVar[Registry[Any]] = DETECTORS
    kind: str = "cascade"

    @classmethod
    def checked(cls, value: Any) -> dict[str, Any]:
        """Returns a choice's fields, its options as their kind wants them."""
        return {"kind": OFF} if value == OFF else super().checked(value)


class InterveneChoice(Choice):
    """What is done when a target is noticed: an intervention kind and its options."""

    registry: ClassVar[Registry[Any]] = INTERVENTIONS
    kind: str = "refuse"


C = TypeVar("C", bound=Choice)


def choices(value: Any, cls: type[C], what: str, path: tuple[str | int, ...] = ()) -> list[C]:
    """Reads one choice or a list of them.

    Args:
        value: As the policy has it.
        cls: What they are choices of.
        what: That, for a message.
        path: Where in the field they stand.

    Raises:
        PydanticCustomError: There are none, or one is wrong.
    """
    listed = isinstance(value, list | tuple)
    if listed and not value:
        raise PydanticCustomError(
            "choice", "give at least one {what}", {"what": what, "path": path}
        )
    found = []
    for n, one in enumerate(value if listed else [value]):
        try:
            fields = one if isinstance(one, cls) else cls.checked(one)
        except PydanticCustomError as error:
            where = (*path, n) if listed else path
            context = {**(error.context or {}), "path": where}
            raise PydanticCustomError(
                "choice", "{why}", {"why": error.message(), **context}
            ) from None
        found.append(cls.model_validate(fields))
    return found


def _interventions(value: Any, path: tuple[str | int, ...]) -> list[InterveneChoice]:
    found = choices(value, InterveneChoice, "intervention", path)
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
            return {"sure": _interventions(value, ())}
        if wrong := sorted(map(str, value.keys() - {"sure", "doubtful"})):
            why = f"unknown beside 'sure' and 'doubtful': {', '.join(wrong)}"
            raise PydanticCustomError("intervene", "{why}", {"why": why, "field": wrong[0]})
        if "sure" not in value:
            raise PydanticCustomError("intervene", "missing; give it", {"field": "sure"})
        return {band: _interventions(some, (band,)) for band, some in value.items()}

    def there(self, folder: Path) -> Self:
        """The same, the paths in options from a folder on."""
        bands = {
            band: some and tuple(choice.there(folder) for choice in some) for band, some in self
        }
        return self.model_copy(update=bands)
