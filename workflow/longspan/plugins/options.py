"""Closed blocks of typed options: what a block of the settings may hold, and its defaults.

A plug-in's options are the fields of its class; the settings, their schema and the docs are read from there.
"""

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictFloat, StrictInt
from pydantic_core import PydanticCustomError

# YAML 1.2 reads 1e-3 as a number, PyYAML (YAML 1.1) as a word.
_EXPONENT_FORM = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")


def _as_number(value: Any) -> Any:
    if isinstance(value, str) and _EXPONENT_FORM.fullmatch(value):
        value = float(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not (isinstance(value, int) or math.isfinite(value)):
        raise PydanticCustomError("number_type", "not a finite number")
    return value


# A whole number stays one, so that what is recorded of `alpha: 1` is what was written.
Number = Annotated[StrictInt | StrictFloat, BeforeValidator(_as_number)]

_ABSENT = "absent"


def option(default: Any = ..., description: str = "", **constraints: Any) -> Any:
    """One option of a block; bounds are pydantic's (gt, ge, lt, le, pattern, min_length, …)."""
    return Field(default, description=description, **constraints)


def optional(description: str, **constraints: Any) -> Any:
    """One option that is no part of its block unless it is given."""
    return Field(None, description=description, json_schema_extra={_ABSENT: True}, **constraints)


class Options(BaseModel):
    """A closed, typed, unchangeable block of options.

    Raises:
        pydantic.ValidationError: a key that is not an option, a missing one, or a value that is not allowed.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        populate_by_name=False,
        serialize_by_alias=True,
        protected_namespaces=(),
        ignored_types=(property,),
    )

    def as_settings(self, *left_out: str) -> dict[str, Any]:
        """The block as it stands in the settings, with its defaults, without the keys that are `left_out`."""
        block = {}
        for name, field in type(self).model_fields.items():
            key, value = field.alias or name, getattr(self, name)
            if key in left_out or (value is None and is_absent(field)):
                continue
            block[key] = _plain(value)
        return block


def is_absent(field: Any) -> bool:
    """Whether a field of a block is left out of it where it is not given."""
    extra = field.json_schema_extra
    return isinstance(extra, Mapping) and bool(extra.get(_ABSENT))


def unique(values: list) -> list:
    """Refuse a list that holds a value twice; for pydantic's AfterValidator."""
    if len(set(values)) < len(values):
        raise PydanticCustomError("unique", "{values} has non-unique elements", {"values": str(values)})
    return values


def own_options(options: type[Options], block: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a block of settings that are options of a class."""
    names = {field.alias or name for name, field in options.model_fields.items()}
    return {key: value for key, value in block.items() if key in names}


def _plain(value: Any) -> Any:
    if isinstance(value, Options):
        return value.as_settings()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
