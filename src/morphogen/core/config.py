"""Configurations: frozen, validated dataclasses that are at once Python API, flags and YAML.

A field's type carries its range (`Annotated[int, Field(ge=1)]`), the docstring under it its
meaning with the paper's symbol. Unknown or wrong fields end in one `ConfigError` sentence.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, TypeVar, cast, dataclass_transform

import pydantic
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from morphogen.core.errors import ConfigError, UnknownNameError

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def config(cls: type[T]) -> type[T]:
    """Class decorator: a frozen keyword-only dataclass whose fields are checked when it is made."""
    made = pydantic.dataclasses.dataclass(
        frozen=True,
        kw_only=True,
        config=ConfigDict(extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True),
    )(cls)
    for name, field in made.__pydantic_fields__.items():
        for base in cls.__mro__[1:]:  # pydantic reads the docstrings of a class's own fields only
            held = getattr(base, "__pydantic_fields__", {}).get(name)
            if field.description is None and held is not None:
                field.description = held.description
    checked: Any = made.__init__

    @functools.wraps(checked)
    def init(self: Any, *args: Any, **values: Any) -> None:
        try:
            checked(self, *args, **values)
        except ValidationError as error:
            raise _sentence(cls, error) from None

    made.__init__ = init  # type: ignore[method-assign]
    return cast(type[T], made)


def from_mapping(cls: type[T], values: Mapping[str, Any]) -> T:
    """A configuration of class `cls` from plain values (YAML, JSON), nested ones included."""
    try:
        return TypeAdapter(cls).validate_python(dict(values))
    except ValidationError as error:
        raise _sentence(cls, error) from None


def to_mapping(values: Any) -> dict[str, Any]:
    """The plain values of a configuration; `from_mapping` gives an equal one back."""
    plain: dict[str, Any] = TypeAdapter(type(values)).dump_python(values, mode="json")
    return plain


def _sentence(cls: type, error: ValidationError) -> ConfigError:
    """The first problem of a pydantic error as one sentence."""
    details: ErrorDetails = error.errors(include_url=False)[0]
    *path, last = [str(part) for part in details["loc"]] or ["?"]
    field = ".".join([*path, last])
    if details["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        owner: Any = cls
        for part in path:  # pydantic's fields: a dataclass's own know their types as text only
            owner = owner.__pydantic_fields__[part].annotation
        known = [f.name for f in dataclasses.fields(owner)]
        where = ".".join([cls.__name__, *path])
        return UnknownNameError(f"field of {where}", last, known)
    rule = details["msg"].removeprefix("Value error, ")
    rule = rule.removeprefix("Input should be ").removeprefix("a valid ")
    return ConfigError(f"{cls.__name__}: {field} is {details['input']!r}; accepted: {rule}")
