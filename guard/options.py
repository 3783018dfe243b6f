"""The base of everything that is read from a policy."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, PlainSerializer, model_validator
from pydantic_core import PydanticCustomError

from guard.registry import nearest

# A file or folder that an option names: in a policy, from the policy's folder on. It is read when
# the policy is compiled; a bundle knows its name alone, not where it lay.
File = Annotated[Path, PlainSerializer(lambda path: path.name, return_type=str, when_used="json")]


class Strict(BaseModel):
    """A frozen model that refuses an unknown field and names the nearest known one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _known_fields(cls, value: Any) -> Any:
        if isinstance(value, dict):
            for field in value:
                if field not in cls.model_fields:
                    hint = nearest(str(field), cls.model_fields)
                    raise PydanticCustomError(
                        "unknown_field", "unknown field{hint}", {"hint": hint, "field": str(field)}
                    )
        elif not isinstance(value, BaseModel):
            raise PydanticCustomError("not_a_mapping", "must be a mapping of fields")
        return value
