"""What a policy says of a target's answers: how they are checked, and what is done on a hit."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from guard.choices import Choice, choices
from guard.options import Strict
from guard.output import CHECKS
from guard.registry import Registry

Then = Literal["answer", "filter"]
OnHit = Literal["rollback", "switch", "answer", "filter"]
Context = Literal["guard", "allow"]


class CheckChoice(Choice):
    """What reads the answers: a kind of check and its options; the kind alone will do."""

    registry: ClassVar[Registry[Any]] = CHECKS

    @classmethod
    def checked(cls, value: Any) -> dict[str, Any]:
        """Returns a choice's fields, its options as their kind wants them."""
        return super().checked({"kind": value} if isinstance(value, str) else value)


class OutputChoice(Strict):
    """How answers are checked for a target, and what happens to one that tells of it.

    Attributes:
        check: What reads them; nothing where the policy says ``off``.
        on_hit: ``rollback`` goes back to the last safe token, bans what was said and lets the
            model go on; ``switch`` has the rest answered with the target's interventions;
            ``answer`` and ``filter`` end the answer.
        times: How often one answer is rolled back or switched; after that, ``then``.
        then: ``answer`` ends with the text of ``answer``, ``filter`` with the finish reason
            ``content_filter``.
        answer: A text that is put behind what has left already.
        context: Whether what the prompt itself brings may be repeated (``allow``).
    """

    check: tuple[CheckChoice, ...]
    on_hit: OnHit = "rollback"
    times: int = Field(default=3, ge=1, le=100)
    then: Then = "filter"
    answer: str = Field(default="I can't help with that.", min_length=1)
    context: Context = "guard"

    @model_validator(mode="before")
    @classmethod
    def _forms(cls, value: Any) -> Any:
        if value == "off":
            return {"check": ()}
        if not isinstance(value, BaseModel | Mapping):
            raise PydanticCustomError("output", "give 'off', or a mapping with a 'check'")
        return value

    @field_validator("check", mode="before")
    @classmethod
    def _checks(cls, value: Any) -> Any:
        if value == ():
            return value
        found = choices(value, CheckChoice, "check")
        kinds = [one.kind for one in found]
        for n, kind in enumerate(kinds):
            if kind in kinds[:n]:
                context = {"kind": repr(kind), "path": (n,)}
                raise PydanticCustomError("check", "{kind} is given twice; keep one", context)
        return tuple(found)

    def there(self, folder: Path) -> Self:
        """The same, the paths in options from a folder on."""
        return self.model_copy(update={"check": tuple(one.there(folder) for one in self.check)})

    def at_once(self) -> Self:
        """The same, without checks that take their time to be fitted."""
        quick = tuple(one for one in self.check if not CHECKS.get(one.kind).slow)
        return self.model_copy(update={"check": quick})
