"""The base of everything that is read from a policy."""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

from guard.registry import nearest


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
